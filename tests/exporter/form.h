/* SPDX-License-Identifier: MIT */
/* The form of Prometheus's text. */
#ifndef SWT_EXPORTER_FORM_H
#define SWT_EXPORTER_FORM_H

/* Each line is a HELP, its TYPE, or a sample of that family; no family comes twice. */
void metrics_check_form(const char *text);

#endif
