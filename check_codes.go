package vhd

// checkCode is what is known of all findings of one code.
type checkCode struct {
	severity  Severity
	structure string
}

const (
	inFileItself = "file"
	inFooter     = "footer"
	inHeader     = "dynamic header"
	inLocator    = "parent locator"
	inBAT        = "BAT"
	inBitmap     = "sector bitmap"
	inChain      = "chain"
)

// checkCodes are the codes of findings. docs/check.md tells of each.
var checkCodes = map[string]checkCode{
	"file-size": {SeverityInfo, inFileItself},

	"footer-lost":        {SeverityError, inFooter},
	"trailing-bytes":     {SeverityError, inFooter},
	"footer-checksum":    {SeverityError, inFooter},
	"footer-version":     {SeverityError, inFooter},
	"footer-size":        {SeverityError, inFooter},
	"copy-lost":          {SeverityError, inFooter},
	"copy-checksum":      {SeverityError, inFooter},
	"copy-version":       {SeverityError, inFooter},
	"copy-size":          {SeverityError, inFooter},
	"footers-differ":     {SeverityError, inFooter},
	"disk-type":          {SeverityError, inFooter},
	"disk-size":          {SeverityError, inFooter},
	"footer-511":         {SeverityInfo, inFooter},
	"footer-features":    {SeverityInfo, inFooter},
	"temporary":          {SeverityInfo, inFooter},
	"footer-data-offset": {SeverityInfo, inFooter},
	"time-stamp":         {SeverityInfo, inFooter},
	"original-size":      {SeverityInfo, inFooter},
	"disk-large":         {SeverityInfo, inFooter},
	"geometry":           {SeverityInfo, inFooter},
	"id-zero":            {SeverityInfo, inFooter},
	"saved-state":        {SeverityInfo, inFooter},
	"footer-reserved":    {SeverityInfo, inFooter},
	"fixed-slack":        {SeverityInfo, inFileItself},

	"header-place":       {SeverityError, inFooter},
	"header-lost":        {SeverityError, inHeader},
	"header-checksum":    {SeverityError, inHeader},
	"block-size":         {SeverityError, inHeader},
	"table-entries":      {SeverityError, inHeader},
	"table-place":        {SeverityError, inHeader},
	"table-padding":      {SeverityError, inBAT},
	"table-large":        {SeverityInfo, inHeader},
	"header-moved":       {SeverityInfo, inHeader},
	"header-data-offset": {SeverityInfo, inHeader},
	"header-reserved":    {SeverityInfo, inHeader},
	"parent-unused":      {SeverityInfo, inHeader},

	"parent-id-zero":  {SeverityInfo, inHeader},
	"parent-unnamed":  {SeverityInfo, inHeader},
	"locator-place":   {SeverityError, inLocator},
	"locator-data":    {SeverityInfo, inLocator},
	"locator-code":    {SeverityInfo, inLocator},
	"locator-path":    {SeverityInfo, inLocator},
	"locator-space":   {SeverityInfo, inLocator},
	"locator-overlap": {SeverityInfo, inLocator},

	"bat-metadata":    {SeverityError, inBAT},
	"bat-past-end":    {SeverityError, inBAT},
	"bat-cut":         {SeverityError, inBAT},
	"bat-overlap":     {SeverityError, inBAT},
	"block-cut":       {SeverityInfo, inBAT},
	"bat-beyond-disk": {SeverityInfo, inBAT},
	"block-unaligned": {SeverityInfo, inBAT},
	"free-blocks":     {SeverityLeak, inFileItself},
	"small-gaps":      {SeverityLeak, inFileItself},
	"slack":           {SeverityLeak, inFileItself},
	"batmap-wrong":    {SeverityInfo, inFileItself},
	"batmap-stale":    {SeverityInfo, inFileItself},

	"bitmap-clear-data": {SeverityInfo, inBitmap},
	"bitmap-past-disk":  {SeverityInfo, inBitmap},
	"bitmap-padding":    {SeverityInfo, inBitmap},

	"parent-not-found":    {SeverityError, inChain},
	"parent-damaged":      {SeverityError, inChain},
	"parent-mismatch":     {SeverityError, inChain},
	"parent-outside-root": {SeverityError, inChain},
	"chain-loop":          {SeverityError, inChain},
	"chain-depth":         {SeverityError, inChain},
	"parent-time":         {SeverityInfo, inChain},
	"parent-size":         {SeverityInfo, inChain},
}
