package interop

import (
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Capture is what passes a node's eth0 on the ports of IKE.
type Capture struct {
	tcpdump *Process
	file    string
}

// Capture begins to record; End stops it.
func (n *Node) Capture(t testing.TB) *Capture {
	t.Helper()
	file := filepath.Join(n.Dir(t, "capture"), "packets.pcap")
	c := &Capture{file: file}
	c.tcpdump = n.Start(t, nil, "tcpdump", "--immediate-mode", "-Z", "root", "-U", "-n", "-s", "0",
		"-i", "eth0", "-w", file, "udp port 500 or udp port 4500")
	c.tcpdump.Await(t, 0, "listening on")
	return c
}

// Size is how many octets are recorded so far.
func (c *Capture) Size(t testing.TB) int64 {
	t.Helper()
	info, err := os.Stat(c.file)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// End stops the recording and has tshark dissect it. keylogs are files of
// Wireshark's ikev2_decryption_table, one SA a line.
func (c *Capture) End(t testing.TB, keylogs ...string) Packets {
	t.Helper()
	c.tcpdump.Interrupt()
	args := []string{"-r", c.file, "-Y", "isakmp", "-T", "pdml"}
	for _, keylog := range keylogs {
		table, err := os.ReadFile(keylog)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(table)) {
			args = append(args, "-o", "uat:ikev2_decryption_table:"+strings.TrimSpace(line))
		}
	}
	cmd := exec.Command("tshark", args...)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v\n%s", err, &complaint)
	}
	packets, err := parsePDML(out)
	if err != nil {
		t.Fatalf("tshark's PDML: %v", err)
	}
	return packets
}

// Packets are IKE messages as tshark sees them, in order.
type Packets []Packet

// Packet is one datagram: the fields of all its layers in order, those inside
// a decrypted SK payload included.
type Packet struct {
	Number int
	Fields []Field
}

// Field is one field in tshark's words: Show is a plain value, Shown the line
// of the human form ("Notify Message Type: TICKET_ACK (16411)").
type Field struct {
	Name  string
	Show  string
	Shown string
}

func parsePDML(b []byte) (Packets, error) {
	type node struct {
		Name   string `xml:"name,attr"`
		Show   string `xml:"show,attr"`
		Shown  string `xml:"showname,attr"`
		Protos []node `xml:"proto"`
		Fields []node `xml:"field"`
	}
	var document struct {
		Packets []node `xml:"packet"`
	}
	if err := xml.Unmarshal(b, &document); err != nil {
		return nil, err
	}
	var flatten func(p *Packet, n node)
	flatten = func(p *Packet, n node) {
		if n.Name != "" {
			p.Fields = append(p.Fields, Field{n.Name, n.Show, n.Shown})
		}
		for _, below := range append(n.Protos, n.Fields...) {
			flatten(p, below)
		}
	}
	var packets Packets
	for _, n := range document.Packets {
		var p Packet
		flatten(&p, n)
		p.Number, _ = strconv.Atoi(p.First("frame.number"))
		packets = append(packets, p)
	}
	return packets, nil
}

// All are the plain values of every field with this name.
func (p Packet) All(name string) []string {
	var values []string
	for _, f := range p.Fields {
		if f.Name == name {
			values = append(values, f.Show)
		}
	}
	return values
}

// First is the plain value of the first field with this name, or nothing.
func (p Packet) First(name string) string {
	if values := p.All(name); len(values) > 0 {
		return values[0]
	}
	return ""
}

// Exchange is the exchange type's number, such as "34".
func (p Packet) Exchange() string { return p.First("isakmp.exchangetype") }

// Response reports the R flag.
func (p Packet) Response() bool { return p.First("isakmp.flag_r") == "1" }

// Notifies are the notifications in the human form, such as "TICKET_ACK (16411)".
func (p Packet) Notifies() []string {
	var names []string
	for _, f := range p.Fields {
		if f.Name == "isakmp.notify.msgtype" {
			_, name, _ := strings.Cut(f.Shown, ": ")
			names = append(names, name)
		}
	}
	return names
}

// Encrypted reports whether there is an SK or SKF payload.
func (p Packet) Encrypted() bool { return len(p.All("isakmp.enc.data")) > 0 }

// Decrypted reports whether tshark opened the SK payload with our key log and
// found its integrity checksum correct.
func (p Packet) Decrypted() bool {
	for _, f := range p.Fields {
		if f.Name == "isakmp.enc.icd" {
			return strings.HasSuffix(f.Shown, "[correct]")
		}
	}
	return false
}

// Ladder is the capture in one line per packet, for a failing test.
func (ps Packets) Ladder() string {
	var b strings.Builder
	for _, p := range ps {
		arrow := "->"
		if p.Response() {
			arrow = "<-"
		}
		b.WriteString(strings.Join([]string{
			strconv.Itoa(p.Number), p.First("ip.src"), arrow, p.First("ip.dst"), "exchange", p.Exchange(),
			"id", p.First("isakmp.messageid"), "octets", p.First("isakmp.length"), strings.Join(p.Notifies(), " "),
		}, " "))
		b.WriteByte('\n')
	}
	return b.String()
}

// Exchange are the packets of one exchange type.
func (ps Packets) Exchange(number string) Packets {
	var some Packets
	for _, p := range ps {
		if p.Exchange() == number {
			some = append(some, p)
		}
	}
	return some
}

// From are the packets that came from this node.
func (ps Packets) From(n *Node) Packets {
	var some Packets
	for _, p := range ps {
		if p.First("ip.src") == n.Addr.String() {
			some = append(some, p)
		}
	}
	return some
}

// Faults are the packets that tshark calls malformed or finds an error in.
func (ps Packets) Faults() []string {
	var faults []string
	for _, p := range ps {
		for _, f := range p.Fields {
			if strings.HasPrefix(f.Name, "_ws.malformed") || f.Name == "_ws.expert.severity" && severe(f.Show) {
				faults = append(faults, strings.Join([]string{"packet", strconv.Itoa(p.Number), f.Name, f.Shown}, " "))
			}
		}
	}
	return faults
}

// WellFormed fails the test if there is a fault, or no packet at all.
func (ps Packets) WellFormed(t testing.TB) {
	t.Helper()
	if len(ps) == 0 {
		t.Error("tshark saw no IKE packet")
	}
	for _, fault := range ps.Faults() {
		t.Errorf("tshark: %s", fault)
	}
}

// Opened fails the test for each encrypted packet that the key log did not
// open, and if there was none.
func (ps Packets) Opened(t testing.TB) {
	t.Helper()
	opened := 0
	for _, p := range ps {
		switch {
		case p.Decrypted():
			opened++
		case p.Encrypted():
			t.Errorf("packet %d is not opened by our key log", p.Number)
		}
	}
	if opened == 0 {
		t.Error("the key log opened nothing")
	}
}

// severe reports an expert severity of error (0x800000), as against a note.
func severe(show string) bool {
	n, err := strconv.ParseUint(show, 0, 32)
	return err == nil && n >= 0x800000
}

// Size is the length of the IP packet in octets.
func (p Packet) Size() int {
	n, _ := strconv.Atoi(p.First("ip.len"))
	return n
}
