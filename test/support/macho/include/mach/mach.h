/*
 * Minimal Darwin <mach/mach.h> for tests: only what sample programs and unexec/runtime use. Names, values and
 * layouts are those of the macOS 11 SDK (xnu osfmk/mach/*.h).
 */
#pragma once
#include <stdint.h>

typedef int kern_return_t;
typedef int boolean_t;
typedef unsigned int mach_port_t;
typedef mach_port_t task_t;
typedef mach_port_t vm_map_t;
typedef uintptr_t vm_address_t;
typedef uintptr_t vm_size_t;
#define KERN_SUCCESS 0
#define KERN_INVALID_ADDRESS 1
#define KERN_NO_SPACE 3
#define KERN_INVALID_ARGUMENT 4
#define KERN_FAILURE 5
#define VM_FLAGS_FIXED 0x0
#define VM_FLAGS_ANYWHERE 0x1

#ifdef __cplusplus
extern "C" {
#endif
extern mach_port_t mach_task_self_;
#define mach_task_self() mach_task_self_
extern vm_size_t vm_page_size;
extern vm_size_t vm_kernel_page_size;
kern_return_t vm_allocate(vm_map_t, vm_address_t *, vm_size_t, int);
kern_return_t vm_deallocate(vm_map_t, vm_address_t, vm_size_t);
#ifdef __cplusplus
}
#endif
