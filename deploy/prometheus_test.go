package deploy_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/app"
	"github.com/exportops/exportops/config"
)

// tool returns the path of a program that scripts/servers prometheus found.
func tool(t *testing.T, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Skip("not here: " + variable + ", see scripts/servers")
	}
	return path
}

func TestPrometheus(t *testing.T) {
	t.Run("takes_the_rules", takesTheRules)
	t.Run("agrees_with_SQL", agreesWithSQL)
}

func takesTheRules(t *testing.T) {
	promtool := tool(t, "EXPORTOPS_TEST_PROMTOOL")
	for _, args := range [][]string{
		{"check", "rules", "prometheus/rules.yml"},
		{"test", "rules", "prometheus/rules_test.yml"},
		{"check", "config", "prometheus/prometheus.yml"},
	} {
		if out, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

const secret = "a-secret-for-the-tests"

// serve begins to serve exports, and returns where, and where its database is.
func serve(t *testing.T, metrics string) (api, database string) {
	t.Helper()
	dir := t.TempDir()
	database = filepath.Join(dir, "exportops.db")
	c, err := config.Settings{
		DatabaseURL: "sqlite://" + database, StorageURL: "file://" + filepath.Join(dir, "exports"), Addr: "127.0.0.1:0",
		MetricsAddr: metrics, CronSecret: secret, IngestToken: secret + "-ingest", Scheduler: "off",
	}.Parse()
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.New(t.Context(), c, app.Options{Events: io.Discard, Migrate: true, Create: true, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	listening, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() { ended <- a.Serve(ctx, false, func(l net.Addr) { listening <- l }) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-ended, a.Close()); err != nil {
			t.Error(err)
		}
	})
	select {
	case l := <-listening:
		return "http://" + l.String(), database
	case err := <-ended:
		ended <- err
		t.FailNow()
		return "", ""
	}
}

func free(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// prometheus starts a Prometheus that scrapes the target each second with our rules,
// and returns where it answers.
func prometheus(t *testing.T, target string) string {
	t.Helper()
	program, dir, addr := tool(t, "EXPORTOPS_TEST_PROMETHEUS"), t.TempDir(), free(t)
	rules, err := filepath.Abs("prometheus/rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs: [{job_name: exportops, static_configs: [{targets: [%q]}]}]
`, rules, target)
	settings := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "--config.file="+settings, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+addr, "--enable-feature=native-histograms", "--log.level=warn")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // it was told to stop, and says so
	return "http://" + addr
}

// ask returns the values that a query yields, by the label.
func ask(ctx context.Context, server, query, label string) (map[string]float64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server+"/api/v1/query?query="+url.QueryEscape(query), nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string `json:"metric"`
				Value  [2]any            `json:"value"`
			} `json:"result"`
		} `json:"data"`
		Error string `json:"error"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.Error != "" {
		return nil, errors.Join(err, errors.New(answer.Error))
	}
	all := map[string]float64{}
	for _, r := range answer.Data.Result {
		text, _ := r.Value[1].(string)
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, err
		}
		all[r.Metric[label]] = v
	}
	return all, nil
}

// report tells the server of exports of which every third failed.
func report(t *testing.T, api string, n int) {
	t.Helper()
	var lines strings.Builder
	for i := range n {
		status, format := "completed", exportops.Formats[i%4]
		if i%3 == 0 {
			status = "failed"
		}
		fmt.Fprintf(&lines, `{"export_id":%q,"user_id":%q,"format":%q,"status":%q,"conversation_count":5,"duration_ms":%d,"file_size_bytes":2000}`+"\n",
			exportops.NewID(), exportops.NewID(), format, status, 100+i)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, api+"/api/v1/metrics", strings.NewReader(lines.String()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-ndjson")
	r.Header.Set("Authorization", "Bearer "+secret+"-ingest")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusAccepted {
		t.Fatal(res.Status)
	}
}

// A live server, a real Prometheus, and SQL on the same database agree.
func agreesWithSQL(t *testing.T) {
	metrics := free(t)
	server := prometheus(t, metrics)
	api, database := serve(t, metrics)
	report(t, api, 40)
	db, err := sql.Open("sqlite", "file:"+database+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var rate float64
	var completed int
	err = db.QueryRowContext(t.Context(), `SELECT 1.0 * sum(status = 'failed') / count(*), sum(status = 'completed')
		FROM exportops_export_metrics WHERE timestamp > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 hour')`).Scan(&rate, &completed)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		query, label, of string
		want             float64
	}{
		{"exportops:failure_ratio:1h", "", "", rate},
		{`sum(exportops_window_exports{window="1h",status="failed"}) / sum(exportops_window_exports{window="1h",status=~"failed|completed"})`, "", "", rate},
		{`sum by (status) (exportops_export_attempts_total)`, "status", "completed", float64(completed)},
		{`histogram_count(sum(exportops_export_duration_seconds))`, "", "", float64(completed)},
		{`ALERTS{alertname="ExportFailureRateHigh",alertstate="firing"}`, "severity", "high", 1},
	} {
		var got map[string]float64
		deadline := time.Now().Add(time.Minute)
		for {
			got, err = ask(t.Context(), server, c.query, c.label)
			if v, ok := got[c.of]; ok && math.Abs(v-c.want) < 1e-9 {
				break
			}
			if time.Now().After(deadline) {
				t.Errorf("%s: %v %v, want %v", c.query, got, err, c.want)
				break
			}
			time.Sleep(200 * time.Millisecond)
		}
	}
}
