package vhd

import "time"

// A child is worthless once its parent is changed. There is little to know that by: what the
// child recorded of when its parent was last changed, in whole seconds; when the parent's file
// was; and when the parent was made, in its footer. What is recorded is the file's time by the
// specification, which this package follows as Xen does. Windows 7 records the time in the footer,
// which no write changes, and Windows 10 none.

// isChangedSince says whether a parent was changed after it was recorded by a child, which said then when
// it was last changed. A copy that has a new time is taken for changed too. A change within the
// second of the one before can't be told.
func (l *link) isChangedSince(recorded time.Time, child *Footer) bool {
	modified := l.info.ModTime()
	if recorded.IsZero() || modified.IsZero() || isTimeOf(modified, recorded) {
		return false
	}
	return child.isOurs() || !recorded.Equal(l.img.footer.Time)
}

// isTimeOf says whether the time of a file is what was recorded in whole seconds.
// File systems that keep no parts of seconds may have rounded it to two of them.
func isTimeOf(modified, recorded time.Time) bool {
	const rounded = 2 * time.Second
	later := modified.Sub(recorded)
	if modified.Nanosecond() == 0 {
		return later.Abs() <= rounded
	}
	return -rounded <= later && later < time.Second
}
