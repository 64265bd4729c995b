//go:build nolinked

package config

// linkedDevices says whether this build has linked devices.
const linkedDevices = false
