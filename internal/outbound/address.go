package outbound

import "net/netip"

// notPublic are the networks that the registries of special-purpose addresses
// (RFC 6890) keep off the public internet, as far as they lie within what else
// counts as public, and one that a cloud keeps for its machines.
var notPublic = networks(
	"0.0.0.0/8",        // this network
	"10.0.0.0/8",       // private
	"100.64.0.0/10",    // shared by carriers' NAT, and metadata of a cloud
	"127.0.0.0/8",      // this machine
	"168.63.129.16/32", // Azure's machines' own service
	"169.254.0.0/16",   // link-local, and metadata of most clouds
	"172.16.0.0/12",    // private
	"192.0.0.0/24",     // protocol assignments
	"192.0.2.0/24",     // documentation
	"192.88.99.0/24",   // 6to4 relays
	"192.168.0.0/16",   // private
	"198.18.0.0/15",    // benchmarks
	"198.51.100.0/24",  // documentation
	"203.0.113.0/24",   // documentation
	"224.0.0.0/4",      // multicast
	"240.0.0.0/4",      // reserved, and broadcast
	"2001::/23",        // protocol assignments, Teredo among them
	"2001:db8::/32",    // documentation
	"2002::/16",        // 6to4: any IPv4 address may be inside
	"3fff::/20",        // documentation
)

var (
	// Of IPv6, only this is handed out for the public internet.
	globalUnicast = netip.MustParsePrefix("2000::/3")
	// What a NAT64 gateway translates to the IPv4 address in the last four bytes.
	wellKnownNAT64 = netip.MustParsePrefix("64:ff9b::/96")
)

func networks(all ...string) (out []netip.Prefix) {
	for _, s := range all {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// reached is the address that a packet ends at: an IPv4 address, where that is
// written as an IPv6 one.
func reached(a netip.Addr) netip.Addr {
	a = a.WithZone("").Unmap()
	if wellKnownNAT64.Contains(a) {
		b := a.As16()
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return a
}

// public reports whether an address, as reached returns it, is of the public
// internet.
func public(a netip.Addr) bool {
	if !a.Is4() && !globalUnicast.Contains(a) {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
