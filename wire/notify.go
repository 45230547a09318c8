package wire

import "encoding/binary"

// Notify is a Notify payload (3.10).
//
//	                     1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|  Protocol ID  |   SPI Size    |      Notify Message Type      |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~                      SPI (SPI Size octets)                    ~
//	~                        Notification Data                      ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type Notify struct {
	Protocol  ProtocolID // of SPI; 0 and ignored where SPI is empty
	Type      NotifyType
	SPI, Data []byte // SPI at most 255 octets
}

// ParseNotify views a Notify body. Error: ErrShort.
func ParseNotify(body []byte) (Notify, error) {
	if len(body) < 4 || len(body) < 4+int(body[1]) {
		return Notify{}, ErrShort
	}
	end := 4 + int(body[1])
	return Notify{
		Protocol: ProtocolID(body[0]),
		Type:     NotifyType(binary.BigEndian.Uint16(body[2:])),
		SPI:      body[4:end:end],
		Data:     body[end:],
	}, nil
}

// Append appends the body.
func (n Notify) Append(b []byte) []byte {
	b = append(b, byte(n.Protocol), octet(len(n.SPI)))
	b = binary.BigEndian.AppendUint16(b, uint16(n.Type))
	b = append(b, n.SPI...)
	return append(b, n.Data...)
}
