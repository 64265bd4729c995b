// Package fetch downloads the files that came with messages and keeps them.
package fetch
