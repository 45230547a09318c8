package floors

// Room is one package of the house and what the law asks of it.
type Room struct {
	Path  string // import path below the module, "." for the root
	Floor int    // 0 is the ground; a room imports lower floors only
	Pure  bool   // no sockets, clocks, locks, goroutines or hidden randomness
	Kit   bool   // a test kit: imported by tests and by other kits only

	// Modules lists the packages outside the standard library that a pure room
	// may import. Rooms that are not pure import what go.mod lists.
	Modules []string

	// Beside lists rooms of the same floor that this one may import all the
	// same. A permission that nobody uses is a finding.
	Beside []string
}

// plan is the house, ground floor first. A new package gets one line here,
// with a name of the field and one floor.
var plan = []Room{
	{Path: "wire", Floor: 0, Pure: true},
	{Path: "internal/eapmsg", Floor: 0, Pure: true},
	{Path: "internal/floors", Floor: 0},
	{Path: "internal/percentile", Floor: 0, Pure: true},
	{Path: "internal/clauses", Floor: 0, Beside: []string{"internal/floors"}},

	{Path: "ticket", Floor: 1, Pure: true},
	{Path: "qcd", Floor: 1, Pure: true},
	{Path: "spi", Floor: 1, Pure: true},
	{Path: "esp", Floor: 1, Pure: true},
	{Path: "internal/suite", Floor: 1, Pure: true, Modules: []string{
		"filippo.io/bigmod", // math/big is not constant time
		"golang.org/x/crypto/chacha20poly1305",
	}},
	{Path: "internal/propose", Floor: 1, Pure: true, Beside: []string{"internal/suite"}},
	{Path: "internal/hashtable", Floor: 1, Pure: true},
	{Path: "internal/window", Floor: 1, Pure: true},
	{Path: "internal/frag", Floor: 1, Pure: true},
	{Path: "internal/cookie", Floor: 1, Pure: true},
	{Path: "internal/natt", Floor: 1, Pure: true},

	{Path: "ike", Floor: 2, Pure: true},
	{Path: "store", Floor: 2},
	{Path: "store/storetest", Floor: 2, Kit: true, Beside: []string{"store"}},
	{Path: "auth", Floor: 2},
	{Path: "auth/authtest", Floor: 2, Kit: true, Beside: []string{"auth"}},
	{Path: "dataplane", Floor: 2},
	{Path: "dataplane/planetest", Floor: 2, Kit: true, Beside: []string{"dataplane"}},
	{Path: "internal/durable", Floor: 2},
	{Path: "internal/udp", Floor: 2},
	{Path: "internal/udp/udptest", Floor: 2, Kit: true, Beside: []string{"internal/udp"}},

	{Path: "dataplane/keysonly", Floor: 3},
	{Path: "dataplane/tunnel", Floor: 3},
	{Path: "dataplane/xfrm", Floor: 3},
	{Path: "store/bolt", Floor: 3},
	{Path: "store/redis", Floor: 3},
	{Path: "store/memory", Floor: 3},
	{Path: "auth/cert", Floor: 3},
	{Path: "auth/psk", Floor: 3},
	{Path: "auth/eap", Floor: 3},
	{Path: "auth/radius", Floor: 3},
	{Path: "internal/child", Floor: 3},
	{Path: "internal/jar", Floor: 3},
	{Path: "internal/state", Floor: 3, Beside: []string{"store/bolt"}},
	{Path: "internal/ladder", Floor: 3},
	{Path: "internal/keylog", Floor: 3},
	{Path: "internal/pki", Floor: 3},
	{Path: "internal/proof", Floor: 3},
	{Path: "internal/hostnet", Floor: 3},
	{Path: "internal/netstack", Floor: 3},
	{Path: "internal/proxy", Floor: 3},

	{Path: ".", Floor: 4},
	{Path: "internal/sim", Floor: 4},
	{Path: "internal/demo", Floor: 4, Beside: []string{"."}},
	{Path: "internal/kills", Floor: 4},
	{Path: "internal/storm", Floor: 4, Beside: []string{"."}},

	{Path: "internal/conf", Floor: 5},
	{Path: "internal/control", Floor: 5},

	{Path: "cmd/blackswan", Floor: 6},
	{Path: "internal/mutate", Floor: 6},
	{Path: "interop", Floor: 6, Kit: true},
}
