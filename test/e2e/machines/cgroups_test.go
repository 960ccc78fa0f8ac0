//go:build linux

package machines

import (
	"os"
	"path/filepath"
	"testing"
)

func TestParseHierarchies(t *testing.T) {
	for _, tt := range []struct {
		name, mountinfo string
		want            []hierarchy
		wrong           string
	}{
		{
			"one controller each",
			`24 1 0:20 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
30 24 0:26 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory
31 24 0:27 / /sys/fs/cgroup/cpuset rw,nosuid shared:9 - cgroup cgroup rw,cpuset
32 24 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct
33 24 0:29 / /sys/fs/cgroup/pids rw,nosuid - cgroup cgroup rw,pids
34 24 0:30 / /sys/fs/cgroup/systemd rw,nosuid - cgroup cgroup rw,xattr,release_agent=/lib/systemd/agent,name=systemd
35 24 0:31 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw
36 24 0:26 / /elsewhere rw,nosuid - cgroup cgroup rw,memory
`,
			[]hierarchy{
				{"/sys/fs/cgroup/memory", "memory"},
				{"/sys/fs/cgroup/cpuset", "cpuset"},
				{"/sys/fs/cgroup/cpu,cpuacct", "cpu,cpuacct"},
				{"/sys/fs/cgroup/pids", "pids"},
				{"/sys/fs/cgroup/systemd", "name=systemd"},
			}, "",
		},
		{
			"version 2 alone",
			"25 1 0:21 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n",
			nil, "no control groups of version 1 for cpu, cpuacct, cpuset, memory, pids are mounted",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "mountinfo")
			if err := os.WriteFile(path, []byte(tt.mountinfo), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := hierarchiesOf(path)
			if tt.wrong != "" {
				if err == nil || err.Error() != tt.wrong {
					t.Fatalf("error %v, want %s", err, tt.wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(tt.want) {
				t.Fatalf("got %v, want %v", got, tt.want)
			}
			for i := range got {
				if got[i] != tt.want[i] {
					t.Errorf("got %v, want %v", got[i], tt.want[i])
				}
			}
		})
	}
}

// TestClaim checks that names and addresses are given once.
func TestClaim(t *testing.T) {
	lab := &Lab{dir: t.TempDir()}
	if err := os.Mkdir(lab.path("machines"), 0o700); err != nil {
		t.Fatal(err)
	}
	first, err := lab.claim(Spec{Name: "a", Labels: map[string]string{"role": "worker"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lab.claim(Spec{Name: "a"}); err == nil {
		t.Error("a name was given twice")
	}
	if err := os.RemoveAll(first.dir); err != nil {
		t.Fatal(err)
	}
	second, err := lab.claim(Spec{Name: "b"})
	if err != nil {
		t.Fatal(err)
	}
	if first.Address == second.Address {
		t.Errorf("the address %s was given again at once", first.Address)
	}
	if second.Running() {
		t.Error("a machine runs that was never started")
	}
	if _, err := lab.Run(t.Context(), Spec{Name: "../b"}); err == nil {
		t.Error("a machine's name leads out of the lab")
	}
}

func TestStartTime(t *testing.T) {
	one, err := startTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	two, err := startTime(os.Getpid())
	if err != nil || one != two || one == 0 {
		t.Errorf("start times %d and %d, %v", one, two, err)
	}
}
