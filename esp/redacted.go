package esp

import (
	"fmt"
	"io"
)

// redacted, embedded, keeps what lies beside it out of logs: whatever the verb
// of fmt, the word is printed and not the key. It takes no room.
type redacted struct{}

// String, GoString and Format write "redacted" and nothing else.
func (redacted) String() string             { return "redacted" }
func (redacted) GoString() string           { return "redacted" }
func (redacted) Format(f fmt.State, _ rune) { io.WriteString(f, "redacted") }
