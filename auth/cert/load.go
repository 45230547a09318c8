package cert

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"blackswan/auth"
)

// maxFile bounds what is read of a file, in octets. A revocation list may hold
// some hundred thousand entries.
const maxFile = 32 << 20

// block is one object of a file.
type block struct {
	kind string // PEM's label, "" in a file of bare DER
	der  []byte
}

// readBlocks reads a file of PEM blocks or one object in DER.
func readBlocks(path string) ([]block, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("auth: %w", err)
	case len(b) > maxFile:
		return nil, fmt.Errorf("auth: %s is larger than %d MB: no file of certificates, keys or revocations", path, maxFile>>20)
	case len(b) > 0 && b[0] == 0x30: // SEQUENCE
		return []block{{"", b}}, nil
	}
	var all []block
	for p, rest := pem.Decode(b); p != nil; p, rest = pem.Decode(rest) {
		all = append(all, block{p.Type, p.Bytes})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("auth: %s holds neither PEM nor DER: want text with -----BEGIN ...-----", path)
	}
	return all, nil
}

// LoadCertificates reads all certificates of a file, in their order. Other PEM
// blocks are passed over.
func LoadCertificates(path string) ([]*x509.Certificate, error) {
	blocks, err := readBlocks(path)
	if err != nil {
		return nil, err
	}
	var all []*x509.Certificate
	for _, b := range blocks {
		if b.kind != "" && b.kind != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(b.der)
		if err != nil {
			return nil, fmt.Errorf("%w: %s, number %d: %w", auth.ErrCertificate, path, len(all)+1, err)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: %s holds none, only %q: give the file that begins with -----BEGIN CERTIFICATE-----", auth.ErrCertificate, path, blocks[0].kind)
	}
	return all, nil
}

// LoadRevocations reads all revocation lists of a file.
func LoadRevocations(path string) ([]*x509.RevocationList, error) {
	blocks, err := readBlocks(path)
	if err != nil {
		return nil, err
	}
	var all []*x509.RevocationList
	for _, b := range blocks {
		if b.kind != "" && b.kind != "X509 CRL" {
			continue
		}
		list, err := x509.ParseRevocationList(b.der)
		if err != nil {
			return nil, fmt.Errorf("auth: %s: revocation list %d: %w", path, len(all)+1, err)
		}
		all = append(all, list)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("auth: %s holds no revocation list, only %q: give the file that begins with -----BEGIN X509 CRL-----", path, blocks[0].kind)
	}
	return all, nil
}

// LoadKey reads a private key: PKCS #8, PKCS #1 or SEC 1. A file that every
// user can read, or that others can write, is refused.
func LoadKey(path string) (crypto.Signer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	const forbidden fs.FileMode = 0o027 // a group such as ssl-cert may read
	if mode := info.Mode().Perm(); mode&forbidden != 0 {
		return nil, fmt.Errorf("auth: %s has mode %04o and holds a private key: chmod 0600 it, and replace the key if others could read it", path, mode)
	}
	blocks, err := readBlocks(path)
	if err != nil {
		return nil, err
	}
	for _, b := range blocks {
		switch b.kind {
		case "ENCRYPTED PRIVATE KEY":
			return nil, fmt.Errorf("auth: %s is encrypted and nobody is there to type its password: write it without one (openssl pkey -in %s -out KEY) and chmod 0600 it", path, path)
		case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "":
			key, err := parseKey(b.der)
			if err != nil {
				return nil, fmt.Errorf("auth: %s: %w", path, err)
			}
			return key, nil
		}
	}
	return nil, fmt.Errorf("auth: %s holds no private key, only %q: give the file that begins with -----BEGIN PRIVATE KEY-----", path, blocks[0].kind)
}

var errKey = errors.New("not a private key in PKCS #8, PKCS #1 or SEC 1, without password, of RSA, ECDSA or Ed25519")

// parseKey tries the three encodings: a label of PEM may lie, and DER has none.
// Its error shows nothing of the key.
func parseKey(der []byte) (crypto.Signer, error) {
	if k, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		if signer, ok := k.(crypto.Signer); ok {
			return signer, nil
		}
	}
	if k, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return k, nil
	}
	if k, err := x509.ParseECPrivateKey(der); err == nil {
		return k, nil
	}
	return nil, errKey
}

// LoadCredential reads a certificate chain and its key, see [NewCredential].
func LoadCredential(certificates, key string, authorities []*x509.Certificate) (*Credential, error) {
	chain, err := LoadCertificates(certificates)
	if err != nil {
		return nil, err
	}
	signer, err := LoadKey(key)
	if err != nil {
		return nil, err
	}
	c, err := NewCredential(chain, signer, authorities)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", certificates, key, err)
	}
	return c, nil
}
