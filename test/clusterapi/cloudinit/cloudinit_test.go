package cloudinit_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/capiam/capiam/test/clusterapi/cloudinit"
)

const first = `## template: jinja
#cloud-config

write_files:
-   path: /etc/plain
    owner: root:root
    permissions: '0640'
    content: |
      plain
-   path: /etc/base64
    encoding: "base64"
    content: |
      YmFzZTY0
-   path: /etc/gzip
    encoding: gzip+base64
    content: H4sIAAAAAAAAA0uvyiwAAPJc6ToEAAAA
-   path: /run/kubeadm/kubeadm.yaml
    content: |
      ---
      apiVersion: kubeadm.k8s.io/v1beta4
      apiServer:
        extraArgs:
        - {name: v, value: "1"}
        - {name: v, value: "2"}
      kind: ClusterConfiguration
      ---
      apiVersion: kubeadm.k8s.io/v1beta4
      kind: InitConfiguration
runcmd:
  - kubeadm init
`

func TestParse(t *testing.T) {
	c, err := cloudinit.Parse([]byte(first))
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{"/etc/plain": "plain\n", "/etc/base64": "base64", "/etc/gzip": "gzip"} {
		file := c.File(path)
		if file == nil || file.Content != content {
			t.Errorf("%s: got %+v, want content %q", path, file, content)
		}
	}
	if got := c.File("/etc/plain"); got.Permissions != "0640" || got.Owner != "root:root" {
		t.Errorf("got %+v", got)
	}
	if c.File("/etc/none") != nil {
		t.Error("found a file that is not there")
	}
	if diff := cmp.Diff([]string{"kubeadm init"}, c.Commands); diff != "" {
		t.Error(diff)
	}
	documents, err := c.Kubeadm()
	if err != nil {
		t.Fatal(err)
	}
	if len(documents) != 2 || documents["InitConfiguration"] == nil {
		t.Errorf("got %v", documents)
	}
	args := cloudinit.ExtraArgs(documents["ClusterConfiguration"], "apiServer")
	if diff := cmp.Diff(map[string][]string{"v": {"1", "2"}}, args); diff != "" {
		t.Error(diff)
	}
}

func TestExtraArgsOfAMap(t *testing.T) {
	args := cloudinit.ExtraArgs(map[string]any{"apiServer": map[string]any{"extraArgs": map[string]any{"v": "1"}}}, "apiServer")
	if diff := cmp.Diff(map[string][]string{"v": {"1"}}, args); diff != "" {
		t.Error(diff)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no header":        "write_files: []\n",
		"no YAML":          "#cloud-config\n\t- {",
		"unknown encoding": "#cloud-config\nwrite_files: [{path: /a, encoding: rot13, content: a}]\n",
		"bad base64":       "#cloud-config\nwrite_files: [{path: /a, encoding: base64, content: '!'}]\n",
		"bad gzip":         "#cloud-config\nwrite_files: [{path: /a, encoding: gzip+base64, content: YQ==}]\n",
	} {
		if c, err := cloudinit.Parse([]byte(text)); err == nil {
			t.Errorf("%s: got %+v", name, c)
		}
	}
}
