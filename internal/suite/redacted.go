package suite

import (
	"fmt"
	"io"
)

// redacted, embedded, keeps what lies beside it out of logs: whatever the verb
// of fmt, the word is printed and not the key. It takes no room.
type redacted struct{}

// String returns "redacted".
func (redacted) String() string { return "redacted" }

// GoString returns "redacted".
func (redacted) GoString() string { return "redacted" }

// Format writes "redacted" for every verb and flag.
func (redacted) Format(f fmt.State, _ rune) { io.WriteString(f, "redacted") }
