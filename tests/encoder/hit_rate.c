/* SPDX-License-Identifier: MIT */
/* When a falling hit rate is told, by itself. */
#include <criterion/criterion.h>

#include "encoder/hit_rate.h"

TestSuite(hit_rate, .timeout = 10);

static bool pass(struct swi_hit_window *window, uint64_t hits, uint64_t uses)
{
    swi_hit_window_add(window, (struct swi_hits){.hits = hits, .uses = uses});
    return swi_hit_window_judge(window);
}

Test(hit_rate, waits_for_a_full_window)
{
    struct swi_hit_window window;
    swi_hit_window_init(&window, 3, 0.5, 0.5);
    cr_expect_not(pass(&window, 0, 10));
    cr_expect_not(pass(&window, 0, 10));
    cr_expect(pass(&window, 0, 10));
}

Test(hit_rate, is_of_the_latest_passes_by_their_uses)
{
    struct swi_hit_window window;
    swi_hit_window_init(&window, 2, 0.5, 0.5);
    cr_expect_not(pass(&window, 0, 100));
    cr_expect_not(pass(&window, 900, 900), "900 of 1000");
    cr_expect_not(pass(&window, 0, 899), "900 of 1799");
    cr_expect(pass(&window, 0, 1), "0 of 900");
    cr_expect_eq(window.sum.hits, 0);
    cr_expect_eq(window.sum.uses, 900);
}

Test(hit_rate, tells_once_until_it_has_recovered)
{
    struct swi_hit_window window;
    swi_hit_window_init(&window, 1, 0.5, 0.8);
    cr_expect(pass(&window, 4, 10));
    cr_expect_not(pass(&window, 0, 10));
    cr_expect_not(pass(&window, 7, 10), "above the one, below the other");
    cr_expect_not(pass(&window, 4, 10));
    cr_expect_not(pass(&window, 8, 10));
    cr_expect(pass(&window, 4, 10));
}

Test(hit_rate, the_threshold_itself_is_not_below)
{
    struct swi_hit_window window;
    swi_hit_window_init(&window, 1, 0.5, 0.5);
    cr_expect_not(pass(&window, 5, 10));
    cr_expect(pass(&window, 4, 10));
    cr_expect_not(pass(&window, 5, 10), "recovers");
    cr_expect(pass(&window, 4, 10));
}

Test(hit_rate, passes_without_uses_say_nothing)
{
    struct swi_hit_window window;
    swi_hit_window_init(&window, 2, 1, 1);
    cr_expect_not(pass(&window, 0, 0));
    cr_expect_not(pass(&window, 0, 0));
    cr_expect_not(pass(&window, 1, 1));
    cr_expect(pass(&window, 0, 1));
}

Test(hit_rate, the_largest_window_wraps)
{
    static struct swi_hit_window window;
    swi_hit_window_init(&window, SWI_HIT_WINDOW_MAX, 0.5, 0.5);
    for (int i = 0; i < 3 * SWI_HIT_WINDOW_MAX; i++)
        cr_assert_not(pass(&window, 1, 2));
    cr_expect_eq(window.sum.uses, 2 * SWI_HIT_WINDOW_MAX);
    cr_expect(pass(&window, 0, 2));
}
