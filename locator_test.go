package vhd_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

func TestPlatformCodesAreThoseOfTheSpecification(t *testing.T) {
	for code, want := range map[vhd.PlatformCode]struct {
		raw  uint32
		text string
	}{
		vhd.W2ru: {0x57327275, "W2ru"}, vhd.W2ku: {0x57326B75, "W2ku"}, vhd.Wi2r: {0x57693272, "Wi2r"},
		vhd.Wi2k: {0x5769326B, "Wi2k"}, vhd.Mac: {0x4D616320, "Mac "}, vhd.MacX: {0x4D616358, "MacX"},
	} {
		require.Equal(t, want.raw, uint32(code))
		require.Equal(t, want.text, code.String())
		require.Equal(t, want.text, string(binary.BigEndian.AppendUint32(nil, uint32(code))))
	}
	require.Equal(t, "none", vhd.PlatformCode(0).String())
	require.Equal(t, "platform code 0x57326b76", vhd.PlatformCode(0x57326B76).String())
}

func TestPathsDecodeAndEncodeInEveryPlatformCode(t *testing.T) {
	for name, test := range map[string]struct {
		code vhd.PlatformCode
		data string
		path string
	}{
		"W2ru, as Windows 10 wrote it":  {vhd.W2ru, ".\x00\\\x00w\x00i\x00n\x008\x00.\x00v\x00h\x00d\x00", `.\win8.vhd`},
		"W2ku":                          {vhd.W2ku, "C\x00:\x00\\\x00\xE4\x00", `C:\ä`},
		"Wi2r":                          {vhd.Wi2r, `..\d\x.vhd`, `..\d\x.vhd`},
		"Wi2k in Windows-1252":          {vhd.Wi2k, "C:\\\xE9\x80\x9F\xFC.vhd", "C:\\é€Ÿü.vhd"},
		"ANSI bytes without a meaning":  {vhd.Wi2k, "\x81\x8D\x8F\x90\x9D", "\u0081\u008D\u008F\u0090\u009D"},
		"MacX keeps its percent-coding": {vhd.MacX, "file://localhost/a%20b/%C3%BC.vhd", "file://localhost/a%20b/%C3%BC.vhd"},
		"an empty path":                 {vhd.Wi2r, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			path, err := test.code.DecodePath([]byte(test.data))
			require.NoError(t, err)
			require.Equal(t, test.path, path)
			data, err := test.code.EncodePath(test.path)
			require.NoError(t, err)
			require.Equal(t, test.data, string(data))
		})
	}
}

func TestAPathOfBytesEndsAtTheFirstZero(t *testing.T) {
	for _, code := range []vhd.PlatformCode{vhd.Wi2r, vhd.Wi2k, vhd.MacX} {
		path, err := code.DecodePath([]byte("a.vhd\x00\x00rest"))
		require.NoError(t, err)
		require.Equal(t, "a.vhd", path)
	}
}

func TestEveryByteOfAnANSIPathComesBack(t *testing.T) {
	for b := 1; b < 256; b++ {
		path, err := vhd.Wi2r.DecodePath([]byte{byte(b)})
		require.NoError(t, err)
		data, err := vhd.Wi2r.EncodePath(path)
		require.NoError(t, err)
		require.Equal(t, []byte{byte(b)}, data)
	}
}

func TestAPathThatACodeCanNotHoldIsNotEncoded(t *testing.T) {
	for name, test := range map[string]struct {
		code vhd.PlatformCode
		path string
	}{
		"Cyrillic in ANSI":    {vhd.Wi2r, "Платте.vhd"},
		"a zero in UTF-16":    {vhd.W2ru, "a\x00b"},
		"a zero in ANSI":      {vhd.Wi2k, "a\x00b"},
		"a zero in a URL":     {vhd.MacX, "file:///a\x00b"},
		"any path as alias":   {vhd.Mac, "/a"},
		"an unknown platform": {vhd.PlatformCode(0x12345678), "a"},
		"no platform":         {vhd.PlatformCode(0), "a"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := test.code.EncodePath(test.path)
			require.ErrorIs(t, err, vhd.ErrUnsupported)
		})
	}
	for _, code := range []vhd.PlatformCode{0, 0x12345678, 0x57326B76} {
		_, err := code.DecodePath([]byte("a"))
		require.ErrorIs(t, err, vhd.ErrUnsupported)
	}
}

// aliasRecord is an alias record of version 2 of a file, as Inside Macintosh and its readers describe it: the name is a
// Pascal string of 63 bytes at offset 50, records of tag, length and padded value begin at 150, and 0xFFFF ends them.
func aliasRecord(name string, records ...string) []byte {
	raw := make([]byte, 150)
	binary.BigEndian.PutUint16(raw[6:], 2)
	raw[10] = 8
	copy(raw[11:], "Macintosh HD"[:8])
	raw[50] = byte(len(name))
	copy(raw[51:], name)
	for _, r := range records {
		raw = append(raw, r...)
	}
	raw = append(raw, 0xFF, 0xFF, 0, 0)
	binary.BigEndian.PutUint16(raw[4:], uint16(len(raw)))
	return raw
}

func TestAMacAliasHoldsAPathOrAName(t *testing.T) {
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"only a name":                {aliasRecord("base.vhd"), "base.vhd"},
		"a name in Mac Roman":        {aliasRecord("\x9F.vhd"), "ü.vhd"},
		"a POSIX path":               {aliasRecord("base.vhd", "\x00\x12\x00\x0c/a/base.vhd\x00"), "/a/base.vhd"},
		"a path behind a parent":     {aliasRecord("base.vhd", "\x00\x00\x00\x03dir\x00", "\x00\x12\x00\x0b/a/base.vhd\x00"), "/a/base.vhd"},
		"records past the end":       {aliasRecord("base.vhd", "\x00\x12\xff\x00/a")[:156], "base.vhd"},
		"a record cut in its header": {append(aliasRecord("base.vhd")[:150], 0, 18, 0), "base.vhd"},
		"nothing behind the name":    {aliasRecord("base.vhd")[:150], "base.vhd"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := vhd.Mac.DecodePath(test.data)
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}
	for name, data := range map[string][]byte{
		"empty": nil, "short": make([]byte, 149), "no name": aliasRecord(""), "a name of 64 bytes": func() []byte {
			raw := aliasRecord("x")
			raw[50] = 64
			return raw
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := vhd.Mac.DecodePath(data)
			require.ErrorIs(t, err, vhd.ErrUnsupported)
		})
	}
}

func TestAnyLocatorDataIsDecodedOrRefused(t *testing.T) {
	codes := rapid.SampledFrom([]vhd.PlatformCode{vhd.W2ru, vhd.W2ku, vhd.Wi2r, vhd.Wi2k, vhd.MacX, vhd.Mac, 0, 7})
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOfN(rapid.Byte(), 0, 400).Draw(t, "data")
		path, err := codes.Draw(t, "code").DecodePath(data)
		if err != nil {
			require.ErrorIs(t, err, vhd.ErrUnsupported)
		}
		require.NotContains(t, path, "\x00")
	})
}

// The specification counts sectors; Windows, Virtual PC, VirtualBox and Xen write bytes.
func TestSpaceBelowASectorIsACountOfSectors(t *testing.T) {
	for stored, want := range map[uint32]int64{
		0: 0, 1: 512, 8: 4096, 511: 511 * 512, 512: 512, 4096: 4096, 65536: 65536, 0xFFFFFFFF: 0xFFFFFFFF,
	} {
		require.Equal(t, want, vhd.Locator{DataSpace: stored}.Space())
	}
}

func TestReferencesComeInTheOrderInWhichTheyAreTried(t *testing.T) {
	parent := vhdtest.NewFixed(1<<20, nil)
	child := func(edit func(img *vhdtest.Image)) *vhdtest.Image {
		img := vhdtest.NewChild(parent, "base.vhd")
		img.Locators, img.ParentName = [8]vhdtest.Locator{}, ""
		edit(img)
		return img
	}
	for name, test := range map[string]struct {
		img  *vhdtest.Image
		want []vhd.ParentRef
	}{
		"Windows 10": {
			child(func(img *vhdtest.Image) { img.LikeWindows10(`C:\d\base.vhd`, `.\base.vhd`) }),
			[]vhd.ParentRef{{Origin: "W2ru", Path: `.\base.vhd`}, {Origin: "header", Path: `C:\d\base.vhd`}, {Origin: "W2ku", Path: `C:\d\base.vhd`}},
		},
		"Windows 7": {
			child(func(img *vhdtest.Image) { img.LikeWindows7(`C:\d\base.vhd`, `..\d\base.vhd`, 7) }),
			[]vhd.ParentRef{{Origin: "W2ru", Path: `..\d\base.vhd`}, {Origin: "header", Path: `C:\d\base.vhd`}, {Origin: "W2ku", Path: `C:\d\base.vhd`}},
		},
		"Virtual PC": {
			child(func(img *vhdtest.Image) { img.LikeVirtualPC(`C:\d\base.vhd`, `.\base.vhd`, "base.vhd", 7) }),
			[]vhd.ParentRef{
				{Origin: "W2ru", Path: `.\base.vhd`}, {Origin: "header", Path: "base.vhd"}, {Origin: "Wi2r", Path: `.\base.vhd`},
				{Origin: "W2ku", Path: `C:\d\base.vhd`}, {Origin: "Wi2k", Path: `C:\d\base.vhd`},
			},
		},
		"all kinds in all slots": {
			child(func(img *vhdtest.Image) {
				img.ParentName = "base.vhd"
				img.Locators = [8]vhdtest.Locator{
					0: vhdtest.Mac(aliasRecord("base.vhd", "\x00\x12\x00\x0b/a/base.vhd\x00")), 1: vhdtest.Wi2k(`C:\d\base.vhd`),
					2: vhdtest.W2ku(`C:\d\base.vhd`), 4: vhdtest.Wi2r("base.vhd").Behind(),
					6: vhdtest.MacX("/d/a base.vhd"), 7: vhdtest.W2ru("base.vhd").Behind(),
				}
			}),
			[]vhd.ParentRef{
				{Origin: "W2ru", Path: "base.vhd"}, {Origin: "header", Path: "base.vhd"}, {Origin: "Wi2r", Path: "base.vhd"},
				{Origin: "MacX", Path: "file://localhost/d/a%20base.vhd"}, {Origin: "W2ku", Path: `C:\d\base.vhd`},
				{Origin: "Wi2k", Path: `C:\d\base.vhd`}, {Origin: "Mac ", Path: "/a/base.vhd"},
			},
		},
		"the last slot alone": {
			child(func(img *vhdtest.Image) { img.Locators[7] = vhdtest.W2ru(`.\base.vhd`) }),
			[]vhd.ParentRef{{Origin: "W2ru", Path: `.\base.vhd`}},
		},
		"space in sectors": {
			child(func(img *vhdtest.Image) {
				img.Locators[1] = vhdtest.W2ru(`.\base.vhd`)
				img.Locators[1].SpaceInSectors = true
			}),
			[]vhd.ParentRef{{Origin: "W2ru", Path: `.\base.vhd`}},
		},
		"no reference at all": {child(func(*vhdtest.Image) {}), nil},
	} {
		t.Run(name, func(t *testing.T) {
			file := test.img.Build(t)
			img, err := vhd.Inspect(bytes.NewReader(file), int64(len(file)))
			require.NoError(t, err)
			require.Equal(t, test.want, img.ParentRefs())
		})
	}
}

// The header is a real one; the paths, of the lengths that it tells, are put where it says.
func TestVirtualPCsFourLocatorsAreRead(t *testing.T) {
	file := make([]byte, 16<<10)
	copy(file, unhex(t, virtualPCFooter, 512))
	copy(file[512:], virtualPCHeader(t))
	copy(file[1536:], bytes.Repeat([]byte{0xFF}, 1024))
	copy(file[0xC00:], `.\dynamic.vhd`)
	copy(file[0xE00:], `D:\Images\dynamic.vhd`)
	copy(file[0x1000:], utf16LE(`.\dynamic.vhd`))
	copy(file[0x1200:], utf16LE(`D:\Images\dynamic.vhd`))
	copy(file[len(file)-512:], file[:512])

	img, err := vhd.Inspect(bytes.NewReader(file), int64(len(file)))
	require.NoError(t, err)
	require.Equal(t, []vhd.ParentRef{
		{Origin: "W2ru", Path: `.\dynamic.vhd`}, {Origin: "header", Path: "dynamic.vhd"}, {Origin: "Wi2r", Path: `.\dynamic.vhd`},
		{Origin: "W2ku", Path: `D:\Images\dynamic.vhd`}, {Origin: "Wi2k", Path: `D:\Images\dynamic.vhd`},
	}, img.ParentRefs())
}

// utf16LE is ASCII text as Windows stores it.
func utf16LE(s string) []byte {
	var b []byte
	for _, c := range []byte(s) {
		b = append(b, c, 0)
	}
	return b
}

func TestALocatorOf65536BytesIsReadAsBytes(t *testing.T) {
	long := `.\` + string(bytes.Repeat([]byte{'x'}, 32762)) + ".vhd"
	img := vhdtest.NewChild(vhdtest.NewFixed(1<<20, nil), "base.vhd")
	img.Locators = [8]vhdtest.Locator{vhdtest.W2ru(long)}
	img.Locators[0].Space = 65536
	require.Len(t, img.Locators[0].Data, 65536)
	file := img.Build(t)
	got, err := vhd.Inspect(bytes.NewReader(file), int64(len(file)))
	require.NoError(t, err)
	require.Equal(t, long, got.ParentRefs()[0].Path)
}

func TestALocatorThatCanNotBeReadIsNoReasonToRefuseTheImage(t *testing.T) {
	good := vhdtest.W2ru(`.\base.vhd`)
	for name, bad := range map[string]vhdtest.Locator{
		"past the end of the file": {Code: vhdtest.CodeW2ku, Data: []byte("a"), Length: 60000},
		"longer than any path":     {Code: vhdtest.CodeW2ku, Data: []byte("a"), Length: 0xFFFFFFFF},
		"over the footer's copy":   {Code: vhdtest.CodeW2ku, Length: 10, Off: 0},
		"of an unknown platform":   {Code: 0x12345678, Data: []byte("path")},
		"an alias that is none":    vhdtest.Mac([]byte("no alias")),
	} {
		t.Run(name, func(t *testing.T) {
			img := vhdtest.NewChild(vhdtest.NewFixed(1<<20, nil), "base.vhd")
			img.Locators = [8]vhdtest.Locator{2: bad, 5: good}
			file := img.Build(t)
			if name == "over the footer's copy" {
				vhdtest.EditHeader(t, file, func(h []byte) { binary.BigEndian.PutUint64(h[576+2*24+16:], 0) })
			}
			got, err := vhd.Inspect(bytes.NewReader(file), int64(len(file)))
			require.NoError(t, err)
			refs := got.ParentRefs()
			require.Len(t, refs, 3)
			require.Equal(t, vhd.ParentRef{Origin: "W2ru", Path: `.\base.vhd`}, refs[0])
			require.Equal(t, "header", refs[1].Origin)
			require.Empty(t, refs[2].Path, "it can't be decoded, and is tried last")
		})
	}
}
