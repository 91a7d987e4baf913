// The Pod Security Standard `restricted`, by the library that the API server enforces it with.
package main

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// restricted says which pods of the files it refuses, and why.
func restricted(files []string) error {
	documents, err := load(files)
	if err != nil {
		return err
	}
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks())
	if err != nil {
		return err
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	var wrong []string
	pods := 0
	for _, document := range documents {
		template := podOf(document)
		if template == nil {
			continue
		}
		pods++
		name := nameOf(document)
		pod, err := as[struct {
			Metadata metav1.ObjectMeta `json:"metadata"`
			Spec     corev1.PodSpec    `json:"spec"`
		}](template)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, result := range evaluator.EvaluatePod(level, &pod.Metadata, &pod.Spec) {
			if !result.Allowed {
				wrong = append(wrong, fmt.Sprintf("%s: %s (%s)", name, result.ForbiddenReason, result.ForbiddenDetail))
			}
		}
		wrong = append(wrong, hygiene(name, pod.Spec)...)
	}
	if pods == 0 {
		return fmt.Errorf("no pods in %v", files)
	}
	return all(wrong)
}

// What we ask beyond `restricted`.
func hygiene(name string, spec corev1.PodSpec) []string {
	var wrong []string
	if spec.EnableServiceLinks == nil || *spec.EnableServiceLinks {
		wrong = append(wrong, name+": service links are on: a Service called drctl would set DRCTL_PORT")
	}
	if spec.AutomountServiceAccountToken == nil {
		wrong = append(wrong, name+": does not say whether it mounts a token")
	}
	for _, container := range append(spec.InitContainers, spec.Containers...) {
		at := name + "/" + container.Name
		if security := container.SecurityContext; security == nil || security.ReadOnlyRootFilesystem == nil || !*security.ReadOnlyRootFilesystem {
			wrong = append(wrong, at+": its root file system can be written to")
		}
		for _, limit := range []corev1.ResourceName{corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
			if _, there := container.Resources.Limits[limit]; !there {
				wrong = append(wrong, fmt.Sprintf("%s: has no limit of %s", at, limit))
			}
		}
		if _, there := container.Resources.Requests[corev1.ResourceCPU]; !there {
			wrong = append(wrong, at+": requests no CPU")
		}
	}
	for _, volume := range spec.Volumes {
		if volume.EmptyDir != nil && volume.EmptyDir.SizeLimit == nil {
			wrong = append(wrong, name+": the emptyDir "+volume.Name+" has no limit")
		}
		if volume.HostPath != nil {
			wrong = append(wrong, name+": mounts a directory of the node")
		}
	}
	return wrong
}

// podOf is the pod that an object makes: `metadata` and `spec`.
func podOf(document object) object {
	spec, _ := document["spec"].(object)
	switch document["kind"] {
	case "Pod":
		return object{"metadata": document["metadata"], "spec": spec}
	case "Deployment", "StatefulSet", "Job":
		return spec["template"].(object)
	case "CronJob":
		return spec["jobTemplate"].(object)["spec"].(object)["template"].(object)
	}
	return nil
}

func nameOf(document object) string {
	metadata, _ := document["metadata"].(object)
	return fmt.Sprintf("%v/%v", document["kind"], metadata["name"])
}
