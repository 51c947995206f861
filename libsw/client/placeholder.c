typedef int sw_placeholder;
