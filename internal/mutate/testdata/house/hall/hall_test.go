package hall

import (
	"testing"

	"house/door"
)

func TestGuest(t *testing.T) {
	t.Run("late", func(t *testing.T) {
		if Enter(door.Guest{Known: true, Late: true}) {
			t.Error("a late guest came in")
		}
	})
}
