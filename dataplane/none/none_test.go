package none

import (
	"testing"

	"blackswan/dataplane"
	"blackswan/dataplane/planetest"
)

func TestPlane(t *testing.T) {
	planetest.Run(t, func(*testing.T) dataplane.Plane { return Open() })
}
