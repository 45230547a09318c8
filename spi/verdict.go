package spi

// Verdict is what we know of the SA behind one of our SPIs. Only Over allows a
// token to be shown; every doubt is Unknown.
type Verdict uint8

const (
	Unknown Verdict = iota
	Live            // the machine's own table says so; Boot never does
	Over
)

func (v Verdict) String() string {
	switch v {
	case Live:
		return "live"
	case Over:
		return "over"
	}
	return "unknown"
}

// Reason is why a Boot came to its verdict, for the log.
type Reason string

const (
	EarlierBoot  Reason = "made before this start"
	ThisBoot     Reason = "made since this start"
	FutureEpoch  Reason = "state directory older than the network remembers"
	OtherMachine Reason = "made before this start, but the state came from another machine: see 'blackswan state adopt'"
	OtherNode    Reason = "made by another node"
)

// Boot is this start of this node.
type Boot struct {
	Node  uint8
	Epoch uint32 // that SPIs are made in now
	Base  uint32 // that this start began with; durable before the first answer

	// Earlier allows to judge the epochs before Base: the machine is the one
	// that the state directory remembers, or the state was adopted.
	Earlier bool
}

// Verdict judges an SPI that opened. It is about the makers alone: the caller
// has looked at its live SAs first.
func (b Boot) Verdict(m Made) (Verdict, Reason) {
	switch {
	case m.Node != b.Node: //rfc:6290-9.2-2 6290-9.2-3
		return Unknown, OtherNode
	case m.Epoch > b.Epoch:
		return Unknown, FutureEpoch
	case m.Epoch >= b.Base:
		return Unknown, ThisBoot
	case !b.Earlier: //rfc:6290-8.1-3
		return Unknown, OtherMachine
	}
	return Over, EarlierBoot
}
