package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/exportops/exportops"
)

// privateTargets reads the networks that may be reached although they are not public.
func privateTargets(s string) (all []netip.Prefix, err error) {
	const name = "EXPORTOPS_ALLOW_PRIVATE_TARGETS"
	var errs []error
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		p, err := netip.ParsePrefix(part)
		if a, single := netip.ParseAddr(part); single == nil && a.Zone() == "" {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			errs = append(errs, invalid(name, fmt.Sprintf("%q is neither an address nor a network", part), "use something like 10.1.2.3 or 10.1.0.0/16, several with commas"))
			continue
		}
		all = append(all, p.Masked())
	}
	return all, errors.Join(errs...)
}

var heartbeatSettings = map[exportops.Job]string{
	exportops.MetricsAggregate: "EXPORTOPS_HEARTBEAT_METRICS",
	exportops.FileCleanup:      "EXPORTOPS_HEARTBEAT_FILES",
	exportops.LogCleanup:       "EXPORTOPS_HEARTBEAT_LOGS",
	exportops.Reconcile:        "EXPORTOPS_HEARTBEAT_RECONCILE",
}

// HeartbeatSetting is the name of the setting that holds a job's address.
func HeartbeatSetting(job exportops.Job) string { return heartbeatSettings[job] }

// heartbeats reads the addresses that are pinged, by job; nil where there is none.
func (s Settings) heartbeats() (map[exportops.Job]Secret, error) {
	var all map[exportops.Job]Secret
	var errs []error
	for job, target := range map[exportops.Job]Secret{
		exportops.MetricsAggregate: s.HeartbeatMetrics, exportops.FileCleanup: s.HeartbeatFiles,
		exportops.LogCleanup: s.HeartbeatLogs, exportops.Reconcile: s.HeartbeatReconcile,
	} {
		switch {
		case target == "":
		case !targetURL(target.Reveal()):
			errs = append(errs, invalid(HeartbeatSetting(job), "it is not an http or https URL", "copy the ping URL from the service that watches"))
		default:
			if all == nil {
				all = map[exportops.Job]Secret{}
			}
			all[job] = target
		}
	}
	return all, errors.Join(errs...)
}

// HeartbeatHost is the host that is pinged for a job; "" for none.
func (c Config) HeartbeatHost(job exportops.Job) string { return hostOf(c.Heartbeats[job]) }
