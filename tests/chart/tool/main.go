// What the tests of the chart ask of Kubernetes' own libraries, in one program:
//
//	tool docs [-check] CHART CONFIG.schema.json   README.md and values.schema.json out of values.yaml
//	tool schemas SWAGGER.json DIR          schemas for kubeconform out of Kubernetes' OpenAPI
//	tool crds DIR FILE...                  the same out of CustomResourceDefinitions
//	tool restricted FILE...                pods that the Pod Security Standard `restricted` refuses
//	tool traffic TABLE FILE...             a table of traffic against the NetworkPolicies
//	tool rbac TABLE FILE...                a table of rights against the Roles
//	tool values FILE                       the chart's values that an Application or HelmRelease gives
//	tool names FILE...                     kind, namespace and name of each object, a line each
//	tool rules FILE                        the groups of a PrometheusRule, as Prometheus reads them
//
// It says each thing that is wrong in a line, and exits with 1.
package main

import (
	"errors"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return errors.New("usage: tool docs|schemas|crds|restricted|traffic|rbac|values|names|rules ARGUMENTS")
	}
	verb, args := args[0], args[1:]
	switch {
	case verb == "docs" && len(args) == 3 && args[0] == "-check":
		return docs(args[1], args[2], true)
	case verb == "docs" && len(args) == 2:
		return docs(args[0], args[1], false)
	case verb == "schemas" && len(args) == 2:
		return schemas(args[0], args[1])
	case verb == "crds" && len(args) > 1:
		return crds(args[0], args[1:])
	case verb == "restricted":
		return restricted(args)
	case verb == "traffic" && len(args) > 1:
		return traffic(args[0], args[1:])
	case verb == "values" && len(args) == 1:
		return part(args[0], "Application", "source", "helm", "valuesObject", "HelmRelease", "values")
	case verb == "names":
		return names(args)
	case verb == "rules" && len(args) == 1:
		return part(args[0], "PrometheusRule")
	case verb == "rbac" && len(args) > 1:
		return rbac(args[0], args[1:])
	}
	return fmt.Errorf("tool %s: wrong arguments", verb)
}

// All that is wrong, a line each; nil if nothing is.
func all(wrong []string) error {
	if len(wrong) == 0 {
		return nil
	}
	text := ""
	for _, line := range wrong {
		text += line + "\n"
	}
	return errors.New(text[:len(text)-1])
}
