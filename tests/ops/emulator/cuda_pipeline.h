#pragma once

#include "cuda_runtime.h"

void __pipeline_memcpy_async(void* to, const void* from, size_t size);
void __pipeline_commit();
void __pipeline_wait_prior(size_t pending);
