// Package backend brings the mappings in: from the aws-auth ConfigMap, from
// IAMIdentityMapping objects, from the configuration file and from a file that
// changes. All of them load into one Store, which logins read without waiting.
//
// A change that does not parse never takes access away: what was good stays,
// and what is wrong is said in the log, in metrics, in an event on the object
// and in the readiness page, until it is mended.
package backend
