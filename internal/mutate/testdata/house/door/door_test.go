package door

import "testing"

func TestStranger(t *testing.T) {
	if Knock(Guest{}) == nil {
		t.Error("a stranger came in")
	}
	if Knock(Guest{Known: true}) != nil {
		t.Error("a friend stayed outside")
	}
}

func TestFriend(t *testing.T) {
	if Knock(Guest{Known: true}) != nil {
		t.Error("a friend stayed outside")
	}
}

func TestSkipped(t *testing.T) { t.Skip("no reason") }

func TestBroken(t *testing.T) { t.Error("always") }
