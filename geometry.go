package vhd

// Geometry is how a disk presents itself to software that addresses it by
// cylinder, head and sector. Its capacity is often below the disk's size,
// which stands in [Footer].CurrentSize.
type Geometry struct {
	Cylinders       uint16
	Heads           uint8
	SectorsPerTrack uint8
}

// Size is the number of bytes that g can address.
func (g Geometry) Size() int64 {
	return int64(g.Cylinders) * int64(g.Heads) * int64(g.SectorsPerTrack) * SectorSize
}

// GeometryOf is the geometry that the specification's appendix "CHS
// Calculation" gives a disk of size bytes. From 127.5 GiB on it is always the
// largest, 65535 × 16 × 255.
func GeometryOf(size int64) Geometry {
	const maxCylinders, maxHeads = 65535, 16
	nsectors := min(max(size, 0)/SectorSize, maxCylinders*maxHeads*255)

	sectorsPerTrack := int64(17)
	cylindersTimesHeads := nsectors / sectorsPerTrack
	heads := max((cylindersTimesHeads+1023)/1024, 4)
	if nsectors >= maxCylinders*maxHeads*63 {
		sectorsPerTrack, heads = 255, maxHeads
		cylindersTimesHeads = nsectors / sectorsPerTrack
	} else {
		if cylindersTimesHeads >= heads*1024 || heads > maxHeads {
			sectorsPerTrack, heads = 31, maxHeads
			cylindersTimesHeads = nsectors / sectorsPerTrack
		}
		if cylindersTimesHeads >= heads*1024 {
			sectorsPerTrack, heads = 63, maxHeads
			cylindersTimesHeads = nsectors / sectorsPerTrack
		}
	}
	return Geometry{
		Cylinders:       uint16(cylindersTimesHeads / heads), //nolint:gosec // at most 65535, see the cap
		Heads:           uint8(heads),                        //nolint:gosec // at most 16
		SectorsPerTrack: uint8(sectorsPerTrack),
	}
}
