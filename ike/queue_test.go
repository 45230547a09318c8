package ike

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

// from is a message of number n from a network of that number.
func from(network, n int) waitingFirst {
	a := netip.AddrFrom4([4]byte{203, 0, byte(network), byte(n)})
	return waitingFirst{p: Packet{Remote: netip.AddrPortFrom(a, 500)}, at: int64(network*1000 + n)}
}

// TestRuleE5_Turns: prefixes are served in turn, the messages of one in their order.
func TestRuleE5_Turns(t *testing.T) {
	var q queue
	for n := range 6 {
		q.push(from(1, n), 100)
	}
	q.pop()
	q.pop()
	for n := range 2 {
		q.push(from(2, n), 100)
		q.push(from(3, n), 100)
	}
	var got []int64
	for w, ok := q.pop(); ok; w, ok = q.pop() {
		got = append(got, w.at)
	}
	if want := []int64{1002, 2000, 3000, 1003, 2001, 3001, 1004, 1005}; !slices.Equal(got, want) {
		t.Errorf("served are %v, want %v", got, want)
	}
	if q.len() != 0 || len(q.lanes) != 0 || len(q.turns) != 0 {
		t.Errorf("%d wait, %d lanes, %d turns", q.len(), len(q.lanes), len(q.turns))
	}
}

// TestRuleE5_QueueBounds: a quarter for a prefix, all of it for four.
func TestRuleE5_QueueBounds(t *testing.T) {
	var q queue
	taken := map[int]int{}
	for n := range 100 {
		for network := range 8 {
			if q.push(from(network, n), 64) {
				taken[network]++
			}
		}
	}
	if q.len() != 64 || len(taken) != 8 || taken[0] != 8 {
		t.Errorf("%d wait: %v", q.len(), taken)
	}
	q = queue{}
	for n := range 100 {
		q.push(from(9, n), 64)
	}
	if q.len() != 16 {
		t.Errorf("%d of one prefix wait", q.len())
	}
	if q = (queue{}); !q.push(from(1, 1), 1) || q.push(from(2, 1), 1) {
		t.Error("a queue for one")
	}
}

// TestRuleE5_QueueThatIsNeverEmpty does not grow.
func TestRuleE5_QueueThatIsNeverEmpty(t *testing.T) {
	for _, networks := range []int{1, 7} {
		t.Run(fmt.Sprint(networks), func(t *testing.T) {
			var q queue
			for network := range networks {
				q.push(from(network, 0), 4096)
			}
			for i := range 100_000 {
				q.push(from(i%networks, i), 4096)
				if _, ok := q.pop(); !ok {
					t.Fatal("nobody waits")
				}
			}
			room := cap(q.turns)
			for _, l := range q.lanes {
				room += cap(l.items)
			}
			if q.len() != networks || room > 64*networks {
				t.Errorf("%d wait, and there is room for %d", q.len(), room)
			}
		})
	}
}
