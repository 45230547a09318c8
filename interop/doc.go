// Package interop runs Black Swan against the IKEv2 daemons of others:
// strongSwan 5.9.8 and libreswan 5.2, with tshark as the judge of our packets.
//
// Everything happens inside network namespaces that a [Lab] makes: a hub with
// a bridge, and a namespace per node. No packet leaves them, and no name of
// theirs appears outside. setup.sh installs the peers; without root the tests
// are left out in one line, and with CI=true nothing may be left out.
package interop
