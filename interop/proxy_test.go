package interop

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Without root and without a TUN our client is a SOCKS5 proxy: what is behind
// the gateway is fetched through it, and a download that has begun when the
// gateway is killed goes on when it is back.
func TestProxyWithoutRoot(t *testing.T) {
	there, here := lab.Node(t, "gateway-p"), lab.Node(t, "client-p")
	p := usual.carrying()
	gateway := there.Gateway(t, p.ourGateway(there), nil)
	gateway.AwaitInner(t, ourGatewayInner)
	begun, goOn := make(chan struct{}), make(chan struct{})
	const half = 100_000
	there.HTTP(t, ourGatewayInner[0]+":8080", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			fmt.Fprint(w, strings.Repeat("a", half))
			w.(http.Flusher).Flush()
			close(begun)
			<-goOn
			fmt.Fprint(w, strings.Repeat("b", half))
			return
		}
		fmt.Fprint(w, "through the tunnel")
	})
	const listen = "127.0.0.1:1080"
	before := time.Now()
	client := here.Proxy(t, p.ourClient(there), listen)
	client.AwaitUp(t)
	curl := func(path string, more ...string) []string {
		return append([]string{"curl", "--silent", "--show-error", "--max-time", "30", "--socks5-hostname", listen,
			"http://" + ourGatewayInner[0] + ":8080" + path}, more...)
	}
	if out := here.MustRun(t, nil, curl("/")...); out != "through the tunnel" {
		t.Errorf("curl got %q", out)
	}
	slow := here.Start(t, nil, curl("/slow", "--write-out", `\n%{size_download} %{http_code}\n`)...)
	<-begun
	gateway.AwaitStored(t, before) // what a roll call needs; without it the client asks after 30 s of silence
	gateway.Kill()
	close(goOn)
	gateway.Restart(t)
	gateway.Listening(t)
	slow.Await(t, 0, fmt.Sprintf(`^%d 200$`, 2*half))
	if out := here.MustRun(t, nil, curl("/")...); out != "through the tunnel" {
		t.Errorf("after the crash curl got %q", out)
	}
	status, err := client.Status(t)
	if err != nil || status.Totals.Full != 1 || status.Totals.Resumed != 1 {
		t.Errorf("our client: %+v, %v", status.Totals, err)
	}
	client.Interrupt() // while there is a gateway to hear it
}

// HTTP serves at an address of the node until t ends.
func (n *Node) HTTP(t testing.TB, addr string, handler http.HandlerFunc) {
	t.Helper()
	var listener net.Listener
	err := n.inside(func() (err error) {
		listener, err = net.Listen("tcp", addr)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
}
