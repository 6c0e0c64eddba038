package vhd_test

import (
	"math/rand/v2"
	"testing"

	"github.com/go-vhd/vhd/internal/vhdtest"
)

// FuzzRepair repairs whole files, as they are or with their checksums mended, and holds what comes of it to what is
// promised of any repair.
func FuzzRepair(f *testing.F) {
	addFiles(f)
	f.Fuzz(func(t *testing.T, file []byte, mended bool) {
		requireRepairedOrRefused(t, input(file, mended))
	})
}

func requireRepairedOrRefused(t testing.TB, file []byte) {
	t.Helper()
	mem := putDisk(t, file)
	if _, err := requireRepaired(t, mem); err != nil {
		requireRefusal(t, err)
	}
}

// What is broken in structures whose checksums are right, in several places at once.
func TestRepairKeepsItsPromisesAfterRandomDamage(t *testing.T) {
	images, n := soundSeeds(t), 3000
	if testing.Short() {
		n = 300
	}
	for seed := range n {
		rng := rand.New(rand.NewPCG(uint64(seed), 11))
		recipe := make([]byte, 60)
		for i := range recipe {
			recipe[i] = byte(rng.Uint32())
		}
		requireRepairedOrRefused(t, vhdtest.Damage(images[seed%len(images)], vhdtest.NewScript(recipe), 4))
	}
}
