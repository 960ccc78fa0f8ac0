package v1alpha1

import "github.com/capiam/capiam/pkg/mapping"

// Mappings returns the table of who may log in. Roles holds mapRoles and, after
// them, ssoRoles.
func (c *AWSIamConfig) Mappings() mapping.Mappings {
	var m mapping.Mappings
	for _, r := range c.Spec.MapRoles {
		m.Roles = append(m.Roles, mapping.Entry{ARN: r.RoleARN, Username: r.Username, Groups: r.Groups})
	}
	for _, r := range c.Spec.SSORoles {
		m.Roles = append(m.Roles, mapping.Entry{
			SSO:      &mapping.SSO{PermissionSetName: r.PermissionSetName, AccountID: r.AccountID},
			Username: r.Username,
			Groups:   r.Groups,
		})
	}
	for _, u := range c.Spec.MapUsers {
		m.Users = append(m.Users, mapping.Entry{ARN: u.UserARN, Username: u.Username, Groups: u.Groups})
	}
	m.Accounts = append(m.Accounts, c.Spec.MapAccounts...)
	return m
}
