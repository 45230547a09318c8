package pki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"blackswan/internal/durable"
)

// Names of the authority's two files in its directory.
const (
	CAFile    = "ca.pem"
	CAKeyFile = "ca.key"
)

// Save writes ca.pem, which peers need, and ca.key, which nobody else may see,
// into the directory and makes it if needed. It never replaces an authority:
// the error is [fs.ErrExist].
func (ca *CA) Save(dir string) error {
	return save(filepath.Join(dir, CAFile), filepath.Join(dir, CAKeyFile), ca.Certificate, ca.key)
}

// Save writes PREFIX.pem and PREFIX.key. It never replaces a certificate:
// the error is [fs.ErrExist].
func (l *Leaf) Save(prefix string) error {
	return save(prefix+".pem", prefix+".key", l.Certificate, l.Key)
}

// save writes the key, then the certificate. A key without its certificate is
// what a killed run left behind, and is moved aside.
func save(certificatePath, keyPath string, certificate *x509.Certificate, key crypto.Signer) error {
	if err := durable.MakeDir(filepath.Dir(certificatePath)); err != nil {
		return fmt.Errorf("pki: %w", err)
	}
	switch _, err := os.Lstat(certificatePath); {
	case err == nil:
		return fmt.Errorf("pki: %s: %w: take another place, or move it away; who trusts the old one will not trust a new one", certificatePath, fs.ErrExist)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("pki: %w", err)
	}
	if err := os.Rename(keyPath, keyPath+".unused"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pki: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("pki: %w", err)
	}
	if err := create(keyPath, "PRIVATE KEY", der, 0o600); err != nil {
		return err
	}
	return create(certificatePath, "CERTIFICATE", certificate.Raw, 0o644)
}

func create(path, kind string, der []byte, mode fs.FileMode) error {
	b := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := durable.Create(path, b, mode); err != nil {
		return fmt.Errorf("pki: %w", err)
	}
	return nil
}

// LoadCA reads what Save wrote. An authority that is not there is
// [fs.ErrNotExist].
func LoadCA(dir string) (*CA, error) {
	path, keyPath := filepath.Join(dir, CAFile), filepath.Join(dir, CAKeyFile)
	der, err := readPEM(path, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("pki: %s: %w", path, err)
	}
	if !certificate.IsCA {
		return nil, fmt.Errorf("pki: %s is the certificate of %v and no authority's", path, certificate.Subject)
	}
	info, err := os.Stat(keyPath)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("pki: %s has no key beside it: bring %s back, or move %s away and make a new authority", path, keyPath, path)
	case err != nil:
		return nil, fmt.Errorf("pki: %w", err)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("pki: %s has mode %04o and is open to others: chmod 0600 it, and make a new authority if anyone read it", keyPath, info.Mode().Perm())
	}
	if der, err = readPEM(keyPath, "PRIVATE KEY"); err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	key, ok := parsed.(crypto.Signer)
	if err != nil || !ok {
		return nil, fmt.Errorf("pki: %s is no private key in PKCS #8", keyPath)
	}
	if public, err := x509.MarshalPKIXPublicKey(key.Public()); err != nil || !bytes.Equal(public, certificate.RawSubjectPublicKeyInfo) {
		return nil, fmt.Errorf("pki: %s is not the key of %s: bring the pair that belongs together", keyPath, path)
	}
	return &CA{certificate, key}, nil
}

// maxFile bounds what is read of a file, in octets.
const maxFile = 64 << 10

func readPEM(path, kind string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("pki: %w", err)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("pki: %s is larger than %d octets", path, maxFile)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("pki: %w", err)
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("pki: %s does not begin with -----BEGIN %s-----", path, kind)
	}
	return block.Bytes, nil
}
