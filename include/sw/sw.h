/* SPDX-License-Identifier: MIT */
/* Surfing Weights: the whole public interface. */
#ifndef SW_SW_H
#define SW_SW_H

#include <sw/base.h>
#include <sw/client.h>
#include <sw/encoder.h>
#include <sw/executor.h>
#include <sw/tokenizer.h>

#endif
