package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/go-vhd/vhd/cmd/vhd/internal/human"
)

// sizeValue is a number of bytes as a flag: 512, 64K, 1.5G.
type sizeValue int64

// Set implements pflag.Value.
func (v *sizeValue) Set(s string) error {
	n, err := parseSize(s)
	*v = sizeValue(n)
	return err
}

// Type implements pflag.Value: it stands in the help.
func (v *sizeValue) Type() string { return "SIZE" }

func (v *sizeValue) String() string {
	if *v == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*v), 10)
}

// sizeUnits are qemu's, each 1024 times the one before.
const sizeUnits = "BKMGTPE"

var errSize = errors.New("want a number of bytes, or one with K, M, G or T behind it, such as 512M or 1.5G")

// parseSize reads a size in qemu's words. KiB and so on are taken for K; KB is
// not, since it means 1000 to some.
func parseSize(s string) (int64, error) {
	number := strings.TrimRight(s, "bBkKmMgGtTpPeEi")
	unit := strings.ToUpper(s[len(number):])
	if len(unit) == 3 && unit[0] != 'B' && unit[1:] == "IB" {
		unit = unit[:1]
	}
	shift := 0
	if unit != "" {
		shift = 10 * strings.Index(sizeUnits, unit)
	}
	if shift < 0 || len(unit) > 1 || strings.Trim(number, "0123456789.") != "" {
		return 0, errorOfSize(s, unit)
	}
	if n, err := strconv.ParseInt(number, 10, 64); err == nil {
		if n > math.MaxInt64>>shift {
			return 0, errors.New("it is too large")
		}
		return n << shift, nil
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, errSize
	}
	f *= float64(int64(1) << shift)
	if f >= math.MaxInt64 {
		return 0, errors.New("it is too large")
	}
	if f != math.Trunc(f) {
		return 0, errors.New("it is not a whole number of bytes")
	}
	return int64(f), nil
}

// errorOfSize is errSize, with the size that may have been meant by one with KB, MB and so on behind it.
func errorOfSize(s, unit string) error {
	if len(unit) != 2 || unit[1] != 'B' {
		return errSize
	}
	without := s[:len(s)-1]
	if _, err := parseSize(without); err != nil {
		return errSize
	}
	return mistake{error: errSize, right: map[string]string{s: without}}
}

// humanSize is a size as people say it, cut to three digits or so.
func humanSize(n int64) string { return human.Size(n) }

// exactSize is humanSize with the number of bytes.
func exactSize(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%s (%d bytes)", humanSize(n), n)
}
