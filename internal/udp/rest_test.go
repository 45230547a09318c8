package udp

import (
	"sync"
	"testing"
)

// Batches that have rested are made again, also while datagrams come.
func TestRest(t *testing.T) {
	links(t, func(t *testing.T, cfg Config) {
		cfg.Batch, cfg.ReceiveBuffer = 4, 4<<20
		client, server := mustListen(t, cfg), mustListen(t, cfg)
		ike, _ := server.Ports()
		queue := func(count int) {
			for i := range count {
				client.Queue(Message{Remote: ike, Data: []byte{byte(i)}})
			}
			if err := client.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		queue(60)
		var held []*Batch
		seen := 0
		for range batches {
			held = append(held, next(t, server))
			seen += len(held[len(held)-1].Messages)
		}
		for _, b := range held {
			server.Recycle(b)
		}
		receive(t, server, 60-seen)
		var resting sync.WaitGroup
		stop := make(chan struct{})
		resting.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					server.Rest()
				}
			}
		})
		for range 50 {
			queue(60)
			receive(t, server, 60)
		}
		close(stop)
		resting.Wait()
		server.Rest()
		if made := server.made.Load(); made > 3 {
			t.Errorf("%d batches are left, of which the readers may have two", made)
		}
	})
}
