package interop

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// libreswan is the one other implementation of RFC 5723 that is about. It has
// no NAT and no COOKIE in a resume, its AUTH is the short form, and without
// ESP in the kernel its Child SAs fail while its IKE SAs live.

// toLibreswan is usual with the switch for its AUTH.
func toLibreswan() profile {
	p := usual
	p.more = "libreswan: true\n"
	return p
}

// plutoConf is libreswan's side of the connection office.
func plutoConf(own *Node, ownID string, peer *Node, peerID, ownTS, peerTS string) (conf, secrets string) {
	conf = conn("office",
		"left="+own.Addr.String(), "leftid="+ownID, "leftsubnet="+ownTS,
		"right="+peer.Addr.String(), "rightid="+peerID, "rightsubnet="+peerTS,
		"keyexchange=ikev2", "authby=secret", "session-resumption=yes",
		"ike=aes_gcm256-sha2_256-dh31", "esp=aes_gcm256", "retransmit-timeout=10s")
	return conf, fmt.Sprintf("%s %s : PSK %q\n", ownID, peerID, secret)
}

// plutoClient starts libreswan as a client of our gateway, ready to suspend
// without a DELETE. Its Child SA fails, and it must not try again by itself.
func plutoClient(t *testing.T, own, gateway *Node) *Pluto {
	t.Helper()
	conf, secrets := plutoConf(own, clientID, gateway, "@"+gatewayID, clientInner, gatewayInner)
	p := own.StartPluto(t, conf, secrets, "office")
	p.Whack(t, "--impair", "send_no_delete", "--impair", "revival")
	return p
}

// plutoGateway starts libreswan as the gateway of our client.
func plutoGateway(t *testing.T, own, client *Node) *Pluto {
	t.Helper()
	conf, secrets := plutoConf(own, "@"+gatewayID, client, clientID, gatewayInner, clientInner)
	p := own.StartPluto(t, conf, secrets, "office")
	p.Whack(t, "--impair", "revival")
	return p
}

const (
	gotTicket     = `received v2N_TICKET_LT_OPAQUE`
	clientResumed = `initiator established IKE SA; authenticated peer using authby=session-resume`
	clientFull    = `initiator established IKE SA; authenticated peer using authby=secret`
	serverResumed = `responder established IKE SA; authenticated peer using authby=session-resume`
	serverFull    = `responder established IKE SA; authenticated peer using authby=secret`
)

// Its client resumes into our gateway: with the first ticket, with the ticket
// of the resumed SA, and after a kill -9 of the gateway, which no gateway of
// its own could offer.
func TestLibreswanResumesIntoUs(t *testing.T) {
	gateway, client := lab.Node(t, "gateway-l"), lab.Node(t, "libre-client")
	ours := gateway.Gateway(t, toLibreswan().ourGateway(gateway), nil)
	pluto := plutoClient(t, client, gateway)
	resume := func(t *testing.T) {
		t.Helper()
		mark := pluto.Mark()
		pluto.Suspend(t, "office")
		pluto.Initiate(t, "office")
		pluto.Await(t, mark, clientResumed)
		pluto.Await(t, mark, gotTicket)
	}
	resumed := func(t *testing.T, want uint64) {
		t.Helper()
		until(t, fmt.Sprintf("our gateway to count %d resumed SAs", want), func() bool {
			status, err := ours.Status(t)
			return err == nil && status.Totals.Resumed == want
		})
	}
	pluto.Initiate(t, "office")
	pluto.Await(t, 0, clientFull)
	pluto.Await(t, 0, gotTicket)
	resume(t)
	resumed(t, 1)
	resume(t) // with the ticket that the resumed IKE_AUTH brought
	resumed(t, 2)
	ours.Kill()
	ours.Restart(t)
	ours.Await(t, 0, `msg=listening`)
	resume(t)
	resumed(t, 1) // counted since the start
	if status, err := ours.Status(t); err != nil || status.Totals.Full != 0 {
		t.Errorf("after the crash our gateway saw full handshakes: %+v, %v", status.Totals, err)
	}
}

// Without the switch its short AUTH is refused, cleanly, and its next
// initiation is a full handshake (rule F1).
func TestLibreswanWithoutTheSwitch(t *testing.T) {
	gateway, client := lab.Node(t, "gateway-o"), lab.Node(t, "libre-off")
	ours := gateway.Gateway(t, usual.ourGateway(gateway), nil)
	pluto := plutoClient(t, client, gateway)
	pluto.Initiate(t, "office")
	pluto.Await(t, 0, clientFull)
	pluto.Await(t, 0, gotTicket)
	mark := pluto.Mark()
	pluto.Suspend(t, "office")
	pluto.Initiate(t, "office")
	pluto.Await(t, mark, `AUTHENTICATION_FAILED`)
	if pluto.Said(mark, clientResumed) {
		t.Error("libreswan is in with an AUTH that RFC 5723 does not know")
	}
	mark = pluto.Mark()
	pluto.Initiate(t, "office")
	pluto.Await(t, mark, clientFull)
	if status, err := ours.Status(t); err != nil || status.Totals.Resumed != 0 {
		t.Errorf("our gateway: %+v, %v", status.Totals, err)
	}
}

// Our client gets a ticket from libreswan though the Child SA fails there,
// keeps the IKE SA and the ticket and says so; killed, it resumes; and when
// libreswan has lost its key with a restart, its TICKET_NACK sends our client
// back to a full handshake.
func TestWeResumeIntoLibreswan(t *testing.T) {
	gateway, client := lab.Node(t, "libre-gateway"), lab.Node(t, "client-l")
	pluto := plutoGateway(t, gateway, client)
	p := toLibreswan()
	p.more += "dpd: 1s\n"

	ours := client.Connect(t, p.ourClient(gateway), nil)
	pluto.Await(t, 0, serverFull)
	pluto.Await(t, 0, `sending IKE_SESSION_RESUME ticket`)
	kept := func(t *testing.T) Status {
		t.Helper()
		var last Status
		until(t, "our client to keep the IKE SA without its Child SA", func() bool {
			status, err := ours.Status(t)
			last = status
			return err == nil && len(status.SAs) == 1 && status.SAs[0].State == "established" && status.Totals.ChildFailed > 0
		})
		return last
	}
	if status := kept(t); status.Totals.Tickets == 0 || status.SAs[0].ChildIn != "" {
		t.Errorf("our client after the failed Child SA: %+v", status)
	}
	ours.Await(t, 0, `msg="no child sa"`)

	awaitTicket(t, ours)
	mark := pluto.Mark()
	ours.Kill()
	ours.Restart(t)
	pluto.Await(t, mark, serverResumed)
	if status := kept(t); status.Totals.Resumed != 1 {
		t.Errorf("our client after its own crash: %+v", status.Totals)
	}

	awaitTicket(t, ours)
	ours.Kill()
	pluto.Restart(t, "office")
	pluto.Whack(t, "--impair", "revival")
	capture := client.Capture(t)
	mark = pluto.Mark()
	ours.Restart(t)
	pluto.Await(t, mark, serverFull)
	if status := kept(t); status.Totals.FellBack != 1 {
		t.Errorf("our client after libreswan's restart: %+v", status.Totals)
	}
	packets := capture.End(t, ours.KeyLog())
	packets.WellFormed(t)
	nack := packets.From(gateway).Exchange("38")
	if len(nack) == 0 || strings.Join(nack[0].Notifies(), " ") != "TICKET_NACK (16412)" {
		t.Errorf("libreswan sent no TICKET_NACK:\n%s", packets.Ladder())
	}
}

// Without the switch our client shows libreswan the AUTH of RFC 5723, is
// refused, and falls back to a full handshake.
func TestWeFallBackWithoutTheSwitch(t *testing.T) {
	gateway, client := lab.Node(t, "libre-strict"), lab.Node(t, "client-o")
	pluto := plutoGateway(t, gateway, client)
	ours := client.Connect(t, usual.ourClient(gateway), nil)
	awaitTicket(t, ours)
	mark := pluto.Mark()
	ours.Kill()
	ours.Restart(t)
	pluto.Await(t, mark, `processing IKE_SESSION_RESUME request`)
	pluto.Await(t, mark, serverFull)
	if pluto.Said(mark, serverResumed) {
		t.Error("libreswan takes the AUTH of RFC 5723: the switch has become needless")
	}
	awaitTicket(t, ours)
	if status, err := ours.Status(t); err != nil || status.Totals.FellBack != 1 {
		t.Errorf("our client: %+v, %v", status.Totals, err)
	}
}

// awaitTicket waits until our client has an SA, and a ticket on disk.
func awaitTicket(t *testing.T, ours *Swan) {
	t.Helper()
	until(t, "a ticket at our client", func() bool {
		status, err := ours.Status(t)
		files, _ := filepath.Glob(filepath.Join(ours.Dir, "state", "jar", "*.ticket")) // the pattern is well-formed
		return err == nil && len(status.SAs) == 1 && status.SAs[0].State == "established" && status.Totals.Tickets > 0 && len(files) > 0
	})
}
