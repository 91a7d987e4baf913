// What each ServiceAccount may do, against a table of what it should.
//
// A line is `yes|no  account  verb  resource[.group][/subresource][:name]  namespace`; `*` as account stands for
// each that no line with yes names.
package main

import (
	"fmt"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/component-helpers/auth/rbac/validation"
)

// rbac says which lines of the table do not hold, and which rights no line knows of.
func rbac(table string, files []string) error {
	documents, err := load(files)
	if err != nil {
		return err
	}
	rights, accounts, err := rightsOf(documents)
	if err != nil {
		return err
	}
	rows, err := rowsOf(table, 5)
	if err != nil {
		return err
	}
	var wrong []string
	named := map[string]bool{}
	granted := map[string]int{}
	for _, row := range rows {
		if row.expected {
			named[row.cells[1]] = true
		}
	}
	for _, row := range rows {
		who := []string{row.cells[1]}
		if row.cells[1] == "*" {
			who = nil
			for account := range accounts {
				if !named[account] {
					who = append(who, account)
				}
			}
		}
		for _, account := range who {
			if !accounts[account] {
				wrong = append(wrong, fmt.Sprintf("%s:%d: there is no ServiceAccount %s", table, row.line, account))
				continue
			}
			rule := ruleOf(row.cells[2], row.cells[3])
			may, _ := validation.Covers(rights[account+"@"+row.cells[4]], []rbacv1.PolicyRule{rule})
			if may != row.expected {
				wrong = append(wrong, fmt.Sprintf("%s:%d: %s may %s %s in %s is %v", table, row.line, account, row.cells[2], row.cells[3], row.cells[4], may))
			}
			if row.expected {
				granted[account+"@"+row.cells[4]]++
			}
		}
	}
	// Each right of the chart stands in the table.
	for where, rules := range rights {
		count := 0
		for _, rule := range rules {
			names := max(1, len(rule.ResourceNames))
			count += len(rule.Verbs) * len(rule.Resources) * names
		}
		if count != granted[where] {
			wrong = append(wrong, fmt.Sprintf("%s: %s has %d rights, and %d are listed", table, where, count, granted[where]))
		}
	}
	return all(wrong)
}

// ruleOf is the right that a line asks for.
func ruleOf(verb, what string) rbacv1.PolicyRule {
	what, name, _ := strings.Cut(what, ":")
	what, sub, _ := strings.Cut(what, "/")
	resource, group, _ := strings.Cut(what, ".")
	if sub != "" {
		resource += "/" + sub
	}
	rule := rbacv1.PolicyRule{Verbs: []string{verb}, APIGroups: []string{group}, Resources: []string{resource}}
	if name != "" {
		rule.ResourceNames = []string{name}
	}
	return rule
}

// rightsOf are the rules by account@namespace, and all accounts.
func rightsOf(documents []object) (map[string][]rbacv1.PolicyRule, map[string]bool, error) {
	roles := map[string][]rbacv1.PolicyRule{}
	accounts := map[string]bool{}
	rights := map[string][]rbacv1.PolicyRule{}
	for _, document := range documents {
		role, err := as[rbacv1.Role](document)
		switch document["kind"] {
		case "Role", "ClusterRole":
			if err != nil {
				return nil, nil, err
			}
			roles[role.Namespace+"/"+role.Name] = role.Rules
		case "ServiceAccount":
			accounts[role.Name] = true
		}
	}
	for _, document := range documents {
		kind := document["kind"]
		if kind != "RoleBinding" && kind != "ClusterRoleBinding" {
			continue
		}
		binding, err := as[rbacv1.RoleBinding](document)
		if err != nil {
			return nil, nil, err
		}
		role, there := roles[binding.Namespace+"/"+binding.RoleRef.Name]
		if !there {
			return nil, nil, fmt.Errorf("%s: there is no role %s", nameOf(document), binding.RoleRef.Name)
		}
		namespace := binding.Namespace
		if kind == "ClusterRoleBinding" {
			namespace = "any"
		}
		for _, subject := range binding.Subjects {
			at := subject.Name + "@" + namespace
			rights[at] = append(rights[at], role...)
		}
	}
	return rights, accounts, nil
}
