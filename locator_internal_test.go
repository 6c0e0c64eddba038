package vhd

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// RFC 2396: what is not unreserved or a slash is percent-coded, byte by byte of the UTF-8.
func TestAFileURLIsAPercentCodedPath(t *testing.T) {
	for path, want := range map[string]string{
		"/disks/base.vhd":  "file://localhost/disks/base.vhd",
		"/a b/ü.vhd":       "file://localhost/a%20b/%C3%BC.vhd",
		"/50%.vhd":         "file://localhost/50%25.vhd",
		"/what?.vhd":       "file://localhost/what%3F.vhd",
		"/a#b.vhd":         "file://localhost/a%23b.vhd",
		"/Volumes/𝄞/x.vhd": "file://localhost/Volumes/%F0%9D%84%9E/x.vhd",
	} {
		require.Equal(t, want, fileURL(path))
		got, err := pathOfFileURL(want)
		require.NoError(t, err)
		require.Equal(t, path, got)
	}
}

func TestFileURLsOfOthersAreUnderstood(t *testing.T) {
	for stored, want := range map[string]string{
		"file:///disks/base.vhd":            "/disks/base.vhd",
		"file://localhost/disks/base.vhd":   "/disks/base.vhd",
		"file://LOCALHOST/disks/base.vhd":   "/disks/base.vhd",
		"FILE:///x.vhd":                     "/x.vhd",
		"file:///a%20b/%c3%bc.vhd":          "/a b/ü.vhd",
		"file:///a%2Fb":                     "/a/b",
		"file://server/share/x.vhd":         "//server/share/x.vhd",
		"file://./x.vhd":                    "./x.vhd", // Xen, which does not encode either
		"file://../d/50%.vhd":               "../d/50%.vhd",
		"file:///C:/d/x.vhd":                "C:/d/x.vhd",
		"file:///1:/x.vhd":                  "/1:/x.vhd", // no drive
		"file:///%7Euser/x.vhd":             "/~user/x.vhd",
		"file:///with:colon/(and)+more.vhd": "/with:colon/(and)+more.vhd",
	} {
		got, err := pathOfFileURL(stored)
		require.NoError(t, err, stored)
		require.Equal(t, want, got)
	}
}

func TestWhatIsNoFileURLIsRefused(t *testing.T) {
	for _, stored := range []string{"", "file", "http://host/x.vhd", "smb://host/x", "mailto:a@b", "://", "/x.vhd"} {
		_, err := pathOfFileURL(stored)
		require.ErrorIs(t, err, ErrFormat, stored)
	}
}

func TestAnyAbsolutePathSurvivesItsURL(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		path := "/" + rapid.StringN(0, 64, -1).Draw(t, "path")
		if len(path) > 2 && path[2] == ':' {
			t.Skip("that is a drive")
		}
		got, err := pathOfFileURL(fileURL(path))
		require.NoError(t, err)
		require.Equal(t, path, got)
	})
}
