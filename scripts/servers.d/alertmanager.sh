# A Prometheus Alertmanager that passes nothing on: what it was told is asked of its
# API. It is Debian's; alone, it looks for no others.
command -v prometheus-alertmanager >/dev/null || fail "prometheus-alertmanager is missing: run scripts/setup, or install Debian's package of that name"

free_port
cat >"$dir/alertmanager.yml" <<-SETTINGS
	route:
	  receiver: nobody
	receivers:
	  - name: nobody
SETTINGS
(private KILL mkdir -p "$dir/alertmanager")
start alertmanager TERM "$(command -v prometheus-alertmanager)" --config.file="$dir/alertmanager.yml" \
	--storage.path="$dir/alertmanager" --cluster.listen-address= --web.listen-address="127.0.0.1:$port"
ready curl -fsS --max-time 5 "http://127.0.0.1:$port/-/ready"
export EXPORTOPS_TEST_ALERTMANAGER="http://127.0.0.1:$port"
