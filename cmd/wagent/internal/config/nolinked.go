//go:build nolinked

package config

// LinkedDevices says whether this build has linked devices.
const LinkedDevices = false
