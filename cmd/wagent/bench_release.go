//go:build !watest

package main

// Run implements wagent bench accounts where nothing can play WhatsApp.
func (benchAccountsCommand) Run() error {
	return useError{"wagent: bench accounts plays WhatsApp by itself, which only a build with -tags watest can."}
}
