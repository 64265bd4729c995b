package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"

	"wagent/cmd/wagent/internal/config"
	"wagent/gateway"
)

// home is the data directory of a process that keeps its own database. Only
// one process has it at a time; what another one left there is dead.
type home struct {
	dir    string
	lock   *flock.Flock
	key    [32]byte         // seals secrets in the database
	keys   []gateway.APIKey // made here, where the configuration names none
	newKey string           // the API key, if it was made just now
}

// openHome locks the data directory, and makes what the configuration leaves
// to be made: the sealing key and an API key.
func openHome(cfg *config.Config) (_ *home, err error) {
	h := &home{dir: cfg.DataDir}
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data_dir: %w", err)
	}
	h.lock = flock.New(filepath.Join(h.dir, "lock"))
	switch ok, err := h.lock.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("lock data_dir %s: %w", h.dir, err)
	case !ok:
		return nil, fmt.Errorf("data_dir %s is in use by another wagent; stop it, or set another data_dir", h.dir)
	}
	defer func() {
		if err != nil {
			_ = h.Close()
		}
	}()
	var given bool
	if h.key, given = cfg.Key(); !given {
		text, _, err := once(filepath.Join(h.dir, "secret.key"), func() string {
			var b [32]byte
			_, _ = rand.Read(b[:]) // never fails (crypto/rand.Read)
			return base64.StdEncoding.EncodeToString(b[:])
		})
		if err != nil {
			return nil, err
		}
		made := config.Config{SecretKey: gateway.Secret(text)}
		if h.key, given = made.Key(); !given {
			return nil, fmt.Errorf("%s is not base64 of 32 bytes; put the file back from a backup, or set secret_key", filepath.Join(h.dir, "secret.key"))
		}
	}
	if len(cfg.APIKeys) == 0 {
		text, made, err := once(h.keyFile(), func() string { return "wrb_live_" + strings.ToLower(rand.Text()) })
		if err != nil {
			return nil, err
		}
		if made {
			h.newKey = text
		}
		h.keys = []gateway.APIKey{{Name: "first", Hash: sha256.Sum256([]byte(text)), Declared: true}}
	}
	return h, nil
}

func (h *home) keyFile() string  { return filepath.Join(h.dir, "api.key") }
func (h *home) database() string { return filepath.Join(h.dir, "wagent.db") }
func (h *home) devices() string  { return filepath.Join(h.dir, "devices.db") }

// Close gives the directory up.
func (h *home) Close() error { return h.lock.Unlock() }

// once returns what the file holds, and makes it if there is no file: complete
// and on disk, or not at all.
func once(path string, value func() string) (text string, made bool, err error) {
	switch b, err := os.ReadFile(path); {
	case err == nil:
		return strings.TrimSpace(string(b)), false, nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", false, err
	}
	text = value()
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return "", false, err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already, if all went well
	_, err = f.WriteString(text + "\n")
	err = errors.Join(err, f.Chmod(0o600), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return "", false, fmt.Errorf("write %s: %w", path, err)
	}
	return text, true, nil
}
