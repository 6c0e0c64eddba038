package human_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd/cmd/vhd/internal/human"
)

func TestAnOffsetIsExact(t *testing.T) {
	for _, c := range []struct {
		n    int64
		want string
	}{
		{0, "0 B"}, {512, "512 B"}, {1024, "1 KiB"}, {1088 << 20, "1088 MiB"}, {1<<30 + 512, "1073742336 B"}, {2040 << 30, "2040 GiB"},
	} {
		require.Equal(t, c.want, human.Offset(c.n))
	}
}

func TestAShareIsNothingOrAllOnlyWhereItIs(t *testing.T) {
	for _, c := range []struct {
		n, total int64
		want     string
	}{
		{0, 0, "0%"}, {0, 100, "0%"}, {100, 100, "100%"}, {1, 2, "50.0%"}, {1, 3, "33.3%"}, {1, 1 << 41, "<0.1%"}, {1<<41 - 1, 1 << 41, ">99.9%"},
	} {
		require.Equal(t, c.want, human.Share(c.n, c.total))
	}
}
