package vhd_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd/internal/vhdtest"
)

// mostInput is the largest file that is looked at: what is larger takes long, and finds no more.
const mostInput = 256 << 10

// FuzzOpenRaw opens whole files for reading, as they are or with their checksums mended.
func FuzzOpenRaw(f *testing.F) {
	addFiles(f)
	f.Fuzz(func(t *testing.T, file []byte, mended bool) {
		file = input(file, mended)
		_, err := aloneInMemory(t, file).requireHarmlessReads(t)
		requireSameInspection(t, file, err)
	})
}

// FuzzOpenWritable opens whole files for writing, as they are or with their checksums mended.
func FuzzOpenWritable(f *testing.F) {
	addFiles(f)
	f.Fuzz(func(t *testing.T, file []byte, mended bool) {
		s := aloneInMemory(t, input(file, mended))
		views, err := s.requireHarmlessReads(t)
		s.requireHarmlessWrites(t, views, err)
	})
}

// FuzzOpenRecipe opens sound images after edits of their structures, whose checksums are right: so the fuzzer gets past
// what a random change breaks.
func FuzzOpenRecipe(f *testing.F) {
	images := soundSeeds(f)
	for i := range images {
		f.Add([]byte{byte(i)})
		for kind := range byte(12) {
			f.Add([]byte{byte(i), 1, kind, 0, kind, 0, kind, 1, kind})
		}
	}
	f.Fuzz(func(t *testing.T, recipe []byte) {
		script := vhdtest.NewScript(recipe)
		image := images[script.UpTo(len(images)-1)]
		file := vhdtest.Damage(image, script, 6)
		s := aloneInMemory(t, file)
		views, err := s.requireHarmlessReads(t)
		if bytes.Equal(file, image) {
			require.NoError(t, err, "it was sound")
		}
		requireSameInspection(t, file, err)
		s.requireHarmlessWrites(t, views, err)
	})
}

func addFiles(f *testing.F) {
	f.Helper()
	for _, file := range soundSeeds(f) {
		f.Add(file, false)
	}
	for _, file := range hostileSeeds(f) {
		f.Add(file, true)
	}
}

func input(file []byte, mended bool) []byte {
	file = file[:min(len(file), mostInput)]
	if mended {
		file = bytes.Clone(file) // which is the fuzzer's
		vhdtest.Mend(file)
	}
	return file
}
