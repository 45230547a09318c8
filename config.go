// Package blackswan is an IKEv2 VPN, gateway and client, built for the day the
// gateway dies: after a crash every client learns of it at once (RFC 6290) and
// comes back in two round trips without its credentials (RFC 5723).
//
// A Gateway or a Client is made from a Config and runs until its context ends.
// Here, and only here, sockets and goroutines meet the machine of package ike:
// one goroutine, one Endpoint and one socket to a shard.
package blackswan

import (
	"log/slog"
	"net/netip"
	"time"

	"golang.zx2c4.com/wireguard/tun"

	"blackswan/dataplane"
)

// Version is the version of the program.
const Version = "0.1.0"

// Ports that IKE has by RFC 7296 2: without and with UDP encapsulation.
const (
	DefaultPort    = 500
	DefaultNATPort = 4500
)

// Role is what a Config is used for.
type Role uint8

// The two roles: who waits for peers, and who brings up a connection.
const (
	RoleGateway Role = iota
	RoleClient
)

// String is "gateway" or "client".
func (r Role) String() string {
	if r == RoleClient {
		return "client"
	}
	return "gateway"
}

// Config is everything that a Gateway or a Client is made from. Its zero value
// is safe; it lacks connections only. It is not changed after use: a reload
// makes a new one.
type Config struct {
	// StateDir is the directory that survives a crash. Empty keeps everything
	// in memory: for clients that are thrown away.
	StateDir string
	// StateKey wraps what StateDir holds: 32 octets, or 64 hexadecimal digits.
	// Empty: the directory has one of its own.
	StateKey []byte

	// TicketKeys is a gateway's file with the ring of ticket keys that it shares
	// with other gateways, so that each resumes the clients of all: 'blackswan
	// keys new' makes it, 'blackswan keys turn' adds a key. It is read at the
	// start, at a reload, each minute, and for a ticket of an unknown key. All
	// else that StateDir holds stays this gateway's own. Empty: the ring is its
	// own too.
	TicketKeys string

	// Listen are our own addresses; none: all of them. A client uses the first.
	Listen []netip.Addr
	// Port and NATPort are our own UDP ports. 0: DefaultPort and
	// DefaultNATPort, or, with AnyPort, free ones.
	Port, NATPort uint16
	AnyPort       bool

	QCD         string        // tokens of RFC 6290: "auto" (also ""), "on", "off"
	RollCall    string        // who is shown its token after a crash: "ours" (also ""), "all", "off"
	RollCallAge time.Duration // the longest silence of who is shown; 0: 10 minutes
	Cookie      string        // COOKIE before a handshake: "auto" (also ""), "always", "never"

	// KeyLog is a file that gets the keys of every SA, in the form of
	// Wireshark's ikev2_decryption_table. Whoever reads it reads everything.
	KeyLog string

	Shards        int // 0: one for each CPU of a gateway, one for a client
	ReceiveBuffer int // of each socket in octets; 0: 32 MiB for a gateway, the system's default for a client
	Timers        Timers

	// Traffic says whether Child SAs carry packets through a TUN of this host:
	// "on"; "off" (also ""): nothing is carried; "auto":
	// on if a TUN can be had. The program's default is "auto".
	Traffic string
	Tunnel  Tunnel

	Connections []Connection

	Log *slog.Logger // nil: slog.Default

	// Tap sees every IKE datagram at the socket, without non-ESP marker, or is
	// nil. It is called by several goroutines and must not keep data.
	Tap func(out bool, data []byte, at time.Time)

	// Device is what packets come from and go to, instead of a TUN of this
	// host: then nothing else of the host is touched. It is closed with what
	// uses it.
	Device tun.Device

	// Plane carries the traffic of Child SAs instead of what Traffic says. It
	// is closed with what uses it.
	Plane dataplane.Plane

	// MachineID names the files of which the first that is not empty tells
	// machines apart (rule B4). None: /etc/machine-id and what stands for it.
	MachineID []string

	// OnEvent is told what happens, or is nil. It is called by the goroutines
	// of the shards, which wait for it: it must be quick.
	OnEvent func(Event)

	listen listener // tests have a network in memory
}

// Tunnel is the device through which all traffic of Child SAs comes and goes.
type Tunnel struct {
	Name      string   // of the TUN; "": the first free one of bs0, bs1, ...
	MTU       int      // octets of an inner packet; 0: 1400
	Addresses []string // gateway: its own inner addresses, as "10.9.0.1/24"

	// Encap is "always" (also ""): ESP travels in UDP, which passes every NAT
	// and is fast; or "auto": bare ESP where there is no NAT on the path.
	Encap string

	ReplayWindow int // packets, 64 to 4096; 0: 1024
}

// Timers are the times that a peer is given to answer. Zero values are the
// defaults.
type Timers struct {
	Retry    Backoff // of handshakes; default 1 s to 16 s, 6 times
	Liveness Backoff // of liveness checks; default 1 s to 8 s, 5 times
}

// Backoff says when a request is sent again, and when its sender gives up. The
// waiting time grows by half each time.
type Backoff struct {
	Initial time.Duration // after the first transmission
	Max     time.Duration // the longest
	Tries   int           // transmissions in all, the first included
}

// Connection is one peer, or one group of peers that prove themselves alike.
type Connection struct {
	Name string // unique; tickets remember it

	// Gateway is where a client finds it: "host" or "host:port", the port
	// being that without UDP encapsulation. GatewayNATPort is the other one;
	// 0: DefaultNATPort. A gateway's connections have neither.
	Gateway        string
	GatewayNATPort uint16

	// Gateways are others, as "host" or "host:port", with the same identity and
	// TicketKeys: a redirect that nothing authenticates leads only to these, and
	// who finds the gateway silent tries them.
	Gateways []string

	Local, Remote Side
	PSK           string // shared key: text, 0x and hexadecimal, or 0s and base64

	IKE, ESP []string // proposals, in order of preference; none: the defaults

	// LocalTS and RemoteTS are what the tunnel carries: prefixes, or "dynamic"
	// (also none) for the addresses of the two sides themselves.
	LocalTS, RemoteTS []string

	// Mode is what the Child SA makes of a packet: "tunnel" (also ""): it carries
	// the whole of it; "transport": what stands behind its IP header, between the
	// two sides themselves, whose addresses LocalTS and RemoteTS then are, and no
	// Child SA if the peer or a NAT on the path does not allow that; "either": then
	// tunnel mode. All but the first want Tunnel.Encap "auto", and no client
	// changes its address then: MOBIKE is off.
	Mode string

	// Children are several Child SAs of one IKE SA, at most 8; none: there is
	// one, without a name. A client makes the first with the IKE SA and the
	// others at once afterwards; a gateway takes each request for the one that
	// it fits best. What an entry leaves out is the connection's own.
	Children []Child

	// Addresses are a client's own inner addresses, as "10.9.0.2/32"; they
	// stand for LocalTS if that is not given. DNS and Search are the resolvers
	// inside the tunnel and the domains that they are for (none: all).
	Addresses, DNS, Search []string

	Fragment int           // largest IKE datagram in octets, its IP and UDP headers not counted; 0: 1252
	DPD      time.Duration // silence after which the peer's liveness is checked; 0: 30 s, negative: never
	Liveness string        // when silence counts: "periodic" (also ""): always; "on_demand": after we sent traffic
	Reauth   time.Duration // gateway: authentication is good for so long (RFC 4478); 0: no limit
	Lifetime time.Duration // of the keys of the IKE SA; bounds its tickets; 0: 24 hours, or Tickets.SinceKE if that is shorter

	// ChildLifetime and ChildVolume are what the keys of a Child SA are good
	// for, the two directions together; it is rekeyed before. 0: an hour, and
	// no bound.
	ChildLifetime time.Duration
	ChildVolume   Volume

	Tickets TicketPolicy

	Childless   bool   // client: IKE_AUTH makes no Child SA, the next exchange does (RFC 6023)
	MOBIKE      string // a client may change its address (RFC 4555): "on" (also ""), "off"
	Routability string // gateway: it shows that it receives there "before" traffic follows (also ""), "after", or "off": never
	Redirect    string // client: another gateway that ours names (RFC 5685): "follow" (also ""), "ignore"

	// Libreswan is for peers of that make: the short AUTH form of a resume,
	// and no COOKIE with it.
	Libreswan bool
}

// Child is what one Child SA of several carries, and how that is protected.
type Child struct {
	Name              string // unique in its connection; the log and the status show it
	Mode              string // as Connection.Mode
	ESP               []string
	LocalTS, RemoteTS []string
}

// Volume is an amount of traffic, in inner packets and their octets.
type Volume struct {
	Packets, Octets uint64
}

// TicketPolicy is whether and for how long a session can be resumed.
type TicketPolicy struct {
	Off      bool          // neither ask for nor grant tickets
	Lifetime time.Duration // of a ticket; 0: 24 hours, or Connection.Lifetime if that is shorter

	// SinceKE and SinceAuth are how old the last key exchange and the last login
	// may be under a ticket that a gateway grants or takes. A client logs in anew
	// before its login is older than its own SinceAuth. 0: 24 hours and 7 days; 7
	// days at most, so long is it remembered which tickets are spent.
	SinceKE, SinceAuth time.Duration

	// A resume makes no new key exchange: a client does so at a random time from
	// HealAfter to HealBefore later. 0: 2 and 15 minutes.
	HealAfter, HealBefore time.Duration

	// Renewal is how a client that stays connected comes to its next ticket:
	// "ask" (also ""): it asks before the last one expires; "rekey": the gateway
	// rekeys the IKE SA, upon which the client asks; "none": with a new SA only.
	Renewal string
}

// Side is one end of a connection: who it is and how it proves that.
type Side struct {
	// ID is an identity: a name ("gw.example.org"), a mail address
	// ("ann@example.org") or an IP address. The remote one may be a pattern:
	// "*", "*.example.org" or "*@example.org".
	ID   string
	Auth string // "psk" (also "") or "cert"

	// Of a local side with "cert": PEM files of the chain, own certificate
	// first, and of its private key.
	Cert, Key string

	// Of a remote side with "cert": PEM files of the authorities that we
	// trust, and of their revocation lists.
	CA, CRL []string
}
