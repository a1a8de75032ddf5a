package exportops

import "encoding/json"

// MarshalJSON writes the rule with its durations as text such as "1h0m0s".
func (r AlertRule) MarshalJSON() ([]byte, error) {
	type plain AlertRule
	out := struct {
		plain
		Window string `json:"window,omitempty"`
		Short  string `json:"short_window,omitempty"`
		For    string `json:"for,omitempty"`
	}{plain: plain(r)}
	if r.Window > 0 {
		out.Window = r.Window.String()
	}
	if r.Short > 0 {
		out.Short = r.Short.String()
	}
	if r.For > 0 {
		out.For = r.For.String()
	}
	return json.Marshal(out)
}
