package mapping

import (
	"errors"
	"testing"

	"github.com/capiam/capiam/pkg/iam"
)

func TestCheckLockout(t *testing.T) {
	t.Parallel()
	admin := Entry{ARN: "arn:aws:iam::111122223333:role/Admin", Username: "admin", Groups: []string{"x", "system:masters"}}
	viewer := Entry{ARN: "arn:aws:iam::111122223333:role/View", Username: "view", Groups: []string{"view"}}
	ssoAdmin := Entry{SSO: &SSO{PermissionSetName: "Admin", AccountID: "111122223333"}, Username: "a", Groups: []string{"system:masters"}}
	caller := func(s string) iam.ARN { return mustARN(t, s) }
	for _, tt := range []struct {
		name string
		m    Mappings
		opts LockoutOptions
		want error
	}{
		{"admin role", Mappings{Roles: []Entry{viewer, admin}}, LockoutOptions{}, nil},
		{"admin user", Mappings{Users: []Entry{{ARN: userBob, Username: "b", Groups: []string{"system:masters"}}}}, LockoutOptions{}, nil},
		{"admin permission set", Mappings{Roles: []Entry{ssoAdmin}}, LockoutOptions{}, nil},
		{"nobody", Mappings{}, LockoutOptions{}, ErrNoAdmin},
		{"only a viewer", Mappings{Roles: []Entry{viewer}}, LockoutOptions{}, ErrNoAdmin},
		{"only an account", Mappings{Accounts: []string{"111122223333"}}, LockoutOptions{}, ErrNoAdmin},
		{"an admin that is not honoured", Mappings{Roles: []Entry{{ARN: "Admin", Username: "a", Groups: []string{"system:masters"}}}}, LockoutOptions{}, ErrNoAdmin},
		{"an admin of another partition", Mappings{Roles: []Entry{admin}}, LockoutOptions{Partition: "aws-cn"}, ErrNoAdmin},
		{"an admin whose entry a later one replaces", Mappings{Roles: []Entry{admin, {ARN: admin.ARN, Username: "a"}}}, LockoutOptions{}, ErrNoAdmin},
		{"a group that is a template", Mappings{Roles: []Entry{{ARN: roleR, Username: "a", Groups: []string{"{{SessionName}}"}}}}, LockoutOptions{}, ErrNoAdmin},
		{"another admin group", Mappings{Roles: []Entry{viewer}}, LockoutOptions{AdminGroups: []string{"ops", "view"}}, nil},
		{"caller is the admin", Mappings{Roles: []Entry{admin}}, LockoutOptions{Caller: caller("arn:aws:sts::111122223333:assumed-role/Admin/me")}, nil},
		{"caller is a viewer", Mappings{Roles: []Entry{admin, viewer}}, LockoutOptions{Caller: caller("arn:aws:sts::111122223333:assumed-role/View/me")}, nil},
		{"caller by permission set", Mappings{Roles: []Entry{ssoAdmin}}, LockoutOptions{Caller: caller("arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Admin_0123456789abcdef/me")}, nil},
		{"caller by account", Mappings{Roles: []Entry{admin}, Accounts: []string{"444455556666"}}, LockoutOptions{Caller: caller("arn:aws:iam::444455556666:user/me")}, nil},
		{"caller is cut off", Mappings{Roles: []Entry{admin}}, LockoutOptions{Caller: caller("arn:aws:iam::111122223333:user/me")}, ErrCallerCutOff},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := CheckLockout(tt.m, tt.opts); !errors.Is(err, tt.want) {
				t.Errorf("CheckLockout = %v, want %v", err, tt.want)
			}
		})
	}
}
