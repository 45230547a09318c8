package ike

import (
	"crypto/subtle"
	"fmt"
	"net/netip"
	"time"

	"blackswan/internal/propose"
	"blackswan/internal/window"
	"blackswan/qcd"
	"blackswan/spi"
	"blackswan/ticket"
	"blackswan/wire"
)

// Config is what an Endpoint is made from. It is read, never written; a
// change is a Command.
type Config struct {
	Shard, Shards int // which of how many Endpoints share this node's SPIs

	Connections []*Connection // in order of preference

	Boot       spi.Boot
	SPIKeys    []spi.Key
	SPICurrent uint8
	Ring       []ticket.Key    // empty: no tickets are granted or opened
	QCD        qcd.Generations // used only when Tokens is set
	Tokens     bool            // make and show QCD tokens (rule A9)
	RollCall   RollCall

	Addresses        []netip.Addr // gateway: all of its own, for MOBIKE clients (RFC 4555 3.4); at most eight
	IKEPort, NATPort uint16       // our own ports, as peers see them without a NAT
	ForceEncap       bool         // our NAT_DETECTION_SOURCE_IP never matches (rule G4)
	CertReq          []byte       // SHA-1 of our trust anchors' keys, concatenated (RFC 7296 3.7)

	Limits Limits
	Timers Timers
	Clock  time.Time // latest wall time that an earlier run has seen (rule D11)
	Doubt  bool      // the clock went back or leapt: no expiry NACK in the first 60 s (rule D11)
	KeyLog bool      // emit EventKeys
}

// RollCall says to whom a restarted gateway shows tokens unasked (rules C).
type RollCall uint8

const (
	RollCallOff  RollCall = iota // no table is written
	RollCallOurs                 // peers that announced it by Vendor ID
	RollCallAll                  // everybody; a peer that did not announce it gets one showing
)

// Limits bound what strangers can make an Endpoint hold. They are this
// shard's share: totals divided by the number of shards.
type Limits struct {
	HalfOpen       int // half-open SAs of IKE_SA_INIT; a quarter for one source prefix
	CookieAt       int // half-open SAs and waiting first messages above which IKE_SA_INIT needs a COOKIE; 0: always, negative: never
	HalfResumes    int // half-open resumes
	ResumeCookieAt int // half-open resumes above which every resume needs a COOKIE (rule E3)
	SAs            int // established SAs
	SAsOfPeer      int // of them, of one identity; one more ends the one heard longest ago
	Questions      int // open questions of full handshakes (rule E7)
	Queue          int // waiting first messages of classes 3 and 4, each (rule E5); a quarter for one source prefix
	Duplicates     int // first messages that were answered lately (rule E4)
	Responses      int // octets of cached responses
	Reassemblies   int // messages being put together from fragments
	Tombstones     int // SPIs of dropped SAs that may still be answered with a token (rule A4)
	Survivors      int // ESP SPIs of before a crash (rule A8)
	Floors         int // lineages with a remembered floor (rule D5)
}

// Timers are the times of the machine.
type Timers struct {
	Retry       window.Backoff // of requests on an SA and of first messages
	Liveness    window.Backoff // of liveness checks
	HalfOpen    time.Duration  // life of a half-open IKE_SA_INIT
	HalfResume  time.Duration  // life of a half-open resume (rule E3)
	AuthSilence time.Duration  // a resumed IKE_AUTH without answer for so long: a new RESUME (rule E6)
	NackWait    time.Duration  // a TICKET_NACK is believed after so long (rule E6)
	RollCallAge time.Duration  // an entry last heard longer ago is not shown (rule C3)
	CacheLife   time.Duration  // of a cached response
	CrowdStep   time.Duration  // first step of the wait before a full handshake (rule E7)
	CrowdCap    time.Duration  // its cap
	DrainGrace  time.Duration  // how long an SA that was sent away may take to go (RFC 5685 5)
	Linger      time.Duration  // an IKE SA whose creator has to delete it waits for that for so long
	EndGrace    time.Duration  // how long an SA outlives its authentication or lifetime (RFC 4478 2)
}

// DefaultLimits are the totals of a node, for one shard.
func DefaultLimits() Limits {
	return Limits{
		HalfOpen: 16384, CookieAt: 1024, HalfResumes: 262144, ResumeCookieAt: 131072, SAs: 1 << 20, SAsOfPeer: 1024,
		Questions: 256, Queue: 4096, Duplicates: 1 << 19, Responses: 64 << 20, Reassemblies: 1024,
		Tombstones: 65536, Survivors: 1 << 18, Floors: 1 << 19,
	}
}

// DefaultTimers are the times of rules C, D and E and of RFC 7296 2.4.
func DefaultTimers() Timers {
	return Timers{
		Retry:       window.Backoff{Initial: time.Second, Max: 16 * time.Second, Factor: 150, Tries: 6},
		Liveness:    window.Backoff{Initial: time.Second, Max: 8 * time.Second, Factor: 150, Tries: 5},
		HalfOpen:    30 * time.Second,
		HalfResume:  10 * time.Second,
		AuthSilence: 4 * time.Second,
		NackWait:    time.Second,
		RollCallAge: 10 * time.Minute,
		CacheLife:   3 * time.Minute,
		CrowdStep:   2 * time.Second,
		CrowdCap:    time.Minute,
		DrainGrace:  30 * time.Second,
		Linger:      5 * time.Second,
		EndGrace:    30 * time.Second,
	}
}

// AuthKind is how one side of a connection proves its identity.
type AuthKind uint8

const (
	AuthPSK  AuthKind = iota + 1 // shared key, RFC 7296 2.15
	AuthCert                     // signature with certificates, RFC 7427 and RFC 4754
)

// Secret is a shared key. It never prints itself.
type Secret []byte

// Format prints "redacted" whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("redacted")) }

// Equal compares in constant time.
func (s Secret) Equal(o Secret) bool { return subtle.ConstantTimeCompare(s, o) == 1 }

// Side is one end of a connection.
type Side struct {
	ID   wire.ID // ours: exact; the peer's: exact, unless Pattern is set
	Any  bool    // peer: every identity that can authenticate itself
	Tail string  // peer: identity ends in this text, as "@example.org" of "*@example.org"
	Auth AuthKind
}

// Matches reports whether the peer identity id fits this side.
func (s *Side) Matches(id wire.ID) bool {
	switch {
	case s.Any:
		return true
	case s.Tail != "":
		text := id.Type == wire.IDFQDN || id.Type == wire.IDRFC822Addr
		return text && len(id.Data) > len(s.Tail) && string(id.Data[len(id.Data)-len(s.Tail):]) == s.Tail
	}
	return id.Type == s.ID.Type && string(id.Data) == string(s.ID.Data)
}

// Renewal says how a client that stays connected comes to the next ticket before
// the last one expires. RFC 5723 4.1 leaves it open, and its authors weighed these
// three. Asking is the default: it costs one small exchange in a ticket's life and
// no key agreement, any gateway answers it, and only the client knows whether it
// means to resume. To let the gateway rekey is for those who want new keys as
// often as new tickets, or serve clients that never ask by themselves. Without
// renewal a ticket is as old as its SA: the least traffic, and after its expiry a
// crash costs a login.
type Renewal uint8

const (
	RenewalAsk   Renewal = iota // the client asks by INFORMATIONAL at three quarters of the ticket's life
	RenewalRekey                // the gateway rekeys the IKE SA then, upon which the client asks
	RenewalNone                 // tickets come with a new SA alone: a login, a resume, a rekey
)

// Mode is what a Child SA makes of a packet (RFC 4301 4.1).
type Mode uint8

const (
	ModeTunnel    Mode = iota // the whole packet is carried, in another one
	ModeTransport             // what stands behind the IP header, between the two peers themselves; no Child SA without that
	ModeEither                // as ModeTransport; where the peer or the path does not allow it, as ModeTunnel
)

// Policy says what a Child SA carries, and how that is protected.
type Policy struct {
	Child string // its name, where a connection has several
	Mode  Mode
	ESP   []propose.ESP

	// Traffic selectors. Empty: dynamic, the peers' own addresses, as all but
	// ModeTunnel want it.
	LocalTS, RemoteTS []wire.Selector
}

// MaxPolicies are the Child SAs that a connection may have: each has room to be
// rekeyed, all at once.
const MaxPolicies = maxChildren / 2

// Connection is one configured peer or group of peers. It is immutable; a
// reload makes new ones.
type Connection struct {
	Name          string
	Local, Remote Side
	PSK           Secret
	CertReq       []byte // SHA-1 of the anchors' keys that we accept for this peer
	IKE           []propose.IKE

	Policy           // of the Child SA that IKE_AUTH makes
	Further []Policy // of others, which the initiator makes when the IKE SA stands; at most MaxPolicies-1

	Gateway    netip.AddrPort // initiator: where to
	Gateways   []Gateway      // initiator: others of the same identity and secrets
	GatewayNAT uint16         // initiator: the gateway's port for UDP encapsulation, normally 4500

	Fragment      int           // largest IKE datagram in octets, IP and UDP headers not counted
	DPD           time.Duration // silence after which the peer's liveness is checked; 0: only on hints
	Liveness      Liveness
	Reauth        time.Duration // responder: AUTH_LIFETIME; 0: none (RFC 4478)
	Lifetime      time.Duration // of the keys of the IKE SA, which is rekeyed before; 0: none; bounds the ticket (RFC 5723 6.2)
	ChildLifetime time.Duration // of a Child SA; 0: none. It is rekeyed before (RFC 7296 2.8)
	ChildVolume   Volume        // of a Child SA, both directions together
	Tickets       bool          // ask for (initiator) or grant (responder) tickets
	Redirects     bool          // initiator: follow REDIRECT (RFC 5685)
	Childless     bool          // initiator: IKE_AUTH makes no Child SA, CREATE_CHILD_SA makes the first (RFC 6023)
	MOBIKE        bool          // the client may change its address (RFC 4555)
	Libreswan     bool          // the short AUTH form and no COOKIE on resume (rules E2, F1)
	Grant         ticket.Limits // responder: of its tickets; initiator: SinceAuth is how old its login may get
	Renewal       Renewal       // of the tickets of an SA that lives on

	// Initiator: so long after a resume the IKE SA is rekeyed, at random between
	// the two (rule D8). 0: DefaultHealAfter and DefaultHealBefore.
	HealAfter, HealBefore time.Duration

	Routability Routability // responder: when traffic follows a client's update (RFC 4555 3.7)

	// Recheck judges again what time can rot in a certificate: its dates, its
	// revocation, the trust anchor (rule E8). Nil where there is none.
	Recheck func(c *ticket.PeerCert, now int64) error
	// KeyPrint is a hash of PSK by a slow function. The gateway's tickets remember
	// it, and one of another key is refused. Zero is compared like any other.
	KeyPrint [32]byte
}

// Policies yields those of all Child SAs, in the order of the configuration.
func (c *Connection) Policies(yield func(*Policy) bool) {
	if !yield(&c.Policy) {
		return
	}
	for i := range c.Further {
		if !yield(&c.Further[i]) {
			return
		}
	}
}

// policy is that of ts.
func (c *Connection) policy(ts *selectors) *Policy {
	if of := ts.policy(); of != 0 {
		return &c.Further[of-1]
	}
	return &c.Policy
}
