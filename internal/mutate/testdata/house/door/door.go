// Package door has lines to break.
package door

import "errors"

// ErrStranger refuses.
var ErrStranger = errors.New("stranger")

// Guest is who knocks.
type Guest struct { //rfc:5723-1-4
	Known, Late bool
}

// Knock lets a guest in, or not.
func Knock(g Guest) error {
	greeted := false //rfc:5723-1-9
	if !g.Known {
		return ErrStranger //rfc:5723-1-1 6290-1-1
	}
	if g.Late { //rfc:5723-1-2
		return errors.New("late")
	}
	ring := 1 //rfc:5723-1-3
	ring += 2
	ring++ //rfc:5723-1-5 5723-1-6
	for ring > 0 {
		ring-- //rfc:5723-1-10
	}
	_ = greeted
	return nil
}
