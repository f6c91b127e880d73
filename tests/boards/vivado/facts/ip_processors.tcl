# The processing systems: which ports exist under which parameter, their widths, and what their address maps decode.

namespace eval standin {
    # PG201 (Zynq UltraScale+ MPSoC Processing System), address map: UG1085 table "System address map".
    ip zynq_ultra_ps_e {
        versions {2018.3 3.3 2021.1 3.4 2023.1 3.5}
        parameters {
            PSU__USE__M_AXI_GP0 {0 enum 0 1}  PSU__USE__M_AXI_GP1 {0 enum 0 1}  PSU__USE__M_AXI_GP2 {1 enum 0 1}
            PSU__MAXIGP0__DATA_WIDTH {128 enum 32 64 128}  PSU__MAXIGP1__DATA_WIDTH {128 enum 32 64 128}
            PSU__MAXIGP2__DATA_WIDTH {32 enum 32 64 128}
            PSU__USE__S_AXI_GP0 {0 enum 0 1}  PSU__USE__S_AXI_GP1 {0 enum 0 1}  PSU__USE__S_AXI_GP2 {0 enum 0 1}
            PSU__USE__S_AXI_GP3 {0 enum 0 1}
            PSU__USE__S_AXI_GP4 {0 enum 0 1}  PSU__USE__S_AXI_GP5 {0 enum 0 1}  PSU__USE__S_AXI_GP6 {0 enum 0 1}
            PSU__USE__S_AXI_ACP {0 enum 0 1}  PSU__USE__S_AXI_ACE {0 enum 0 1}
            PSU__SAXIGP0__DATA_WIDTH {128 enum 32 64 128}  PSU__SAXIGP1__DATA_WIDTH {128 enum 32 64 128}
            PSU__SAXIGP2__DATA_WIDTH {128 enum 32 64 128}
            PSU__SAXIGP3__DATA_WIDTH {128 enum 32 64 128}  PSU__SAXIGP4__DATA_WIDTH {128 enum 32 64 128}
            PSU__SAXIGP5__DATA_WIDTH {128 enum 32 64 128}
            PSU__SAXIGP6__DATA_WIDTH {128 enum 32 64 128}
            PSU__USE__IRQ0 {1 enum 0 1}  PSU__USE__IRQ1 {0 enum 0 1}
            PSU__USE__FABRIC__RST {1 enum 0 1}  PSU__NUM_FABRIC_RESETS {1 integer 0 4}
            PSU__FPGA_PL0_ENABLE {1 enum 0 1}  PSU__FPGA_PL1_ENABLE {0 enum 0 1}  PSU__FPGA_PL2_ENABLE {0 enum 0 1}
            PSU__FPGA_PL3_ENABLE {0 enum 0 1}
            PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ {100 real 0 400}  PSU__CRL_APB__PL1_REF_CTRL__FREQMHZ {100 real 0 400}
            PSU__CRL_APB__PL2_REF_CTRL__FREQMHZ {100 real 0 400}  PSU__CRL_APB__PL3_REF_CTRL__FREQMHZ {100 real 0 400}
            PSU__CRL_APB__PL0_REF_CTRL__SRCSEL {IOPLL enum IOPLL RPLL DPLL}
            PSU__CRL_APB__PL1_REF_CTRL__SRCSEL {IOPLL enum IOPLL RPLL DPLL}
            PSU__CRL_APB__PL0_REF_CTRL__ACT_FREQMHZ {100 readonly}
            PSU__CRL_APB__PL1_REF_CTRL__ACT_FREQMHZ {100 readonly}
            PSU__PSS_REF_CLK__FREQMHZ {33.333 real 27 60}  PSU__OVERRIDE__BASIC_CLOCK {0 enum 0 1}
            PSU__HIGH_ADDRESS__ENABLE {0 enum 0 1}  PSU__DDR_HIGH_ADDRESS_GUI_ENABLE {0 enum 0 1}
            PSU__TTC0__WAVEOUT__ENABLE {0 enum 0 1}  PSU__TTC0__WAVEOUT__IO {{} any}
            PSU__TTC0__PERIPHERAL__ENABLE {0 enum 0 1}
            PSU__PRESET_APPLIED {0 enum 0 1}  PSU__USE__AUDIO {0 enum 0 1}  PSU__USE__VIDEO {0 enum 0 1}
            PSU__AFI0_COHERENCY {0 enum 0 1}  PSU__AFI1_COHERENCY {0 enum 0 1}  PSU__TRISTATE__INVERTED {1 any}
        }
        shape {
            # Clocks and resets to the fabric. The frequency is what integer dividers make of the PLL.
            foreach i {0 1 2 3} {
                if {$C(PSU__FPGA_PL${i}_ENABLE)} {
                    set wanted $C(PSU__CRL_APB__PL${i}_REF_CTRL__FREQMHZ)
                    pin out pl_clk$i clk freq [pl_frequency $wanted $C(PSU__PSS_REF_CLK__FREQMHZ)]
                }
            }
            if {$C(PSU__USE__FABRIC__RST)} {
                for {set i 0} {$i < $C(PSU__NUM_FABRIC_RESETS)} {incr i} {
                    pin out pl_resetn$i rst active low asynchronous 1
                }
            }
            foreach i {0 1} { if {$C(PSU__USE__IRQ$i)} { pin in pl_ps_irq$i intr tied 1 } }

            # Masters: {number name clock apertures}. UG1085: the FPD masters have three windows each, HPM0_LPD one.
            foreach {i name clock windows} {
                0 M_AXI_HPM0_FPD maxihpm0_fpd_aclk {0x00A0000000 256M 0x0400000000 4G 0x1000000000 224G}
                1 M_AXI_HPM1_FPD maxihpm1_fpd_aclk {0x00B0000000 256M 0x0500000000 4G 0x4800000000 224G}
                2 M_AXI_HPM0_LPD maxihpm0_lpd_aclk {0x0080000000 512M}
            } {
                if {!$C(PSU__USE__M_AXI_GP$i)} continue
                pin in $clock clk
                interface master $name aximm \
                    protocol AXI4 data $C(PSU__MAXIGP${i}__DATA_WIDTH) address 40 clocks $clock space Data optional 1
                foreach {base size} $windows { aperture $name $base $size }
            }

            # Slaves: {number name clock prefix}. All reach the DDR; its high half is there with more than 2 GB.
            foreach {i name clock prefix} {
                0 S_AXI_HPC0_FPD saxihpc0_fpd_aclk HPC0
                1 S_AXI_HPC1_FPD saxihpc1_fpd_aclk HPC1
                2 S_AXI_HP0_FPD saxihp0_fpd_aclk HP0
                3 S_AXI_HP1_FPD saxihp1_fpd_aclk HP1
                4 S_AXI_HP2_FPD saxihp2_fpd_aclk HP2
                5 S_AXI_HP3_FPD saxihp3_fpd_aclk HP3
                6 S_AXI_LPD saxi_lpd_aclk LPD
            } {
                if {!$C(PSU__USE__S_AXI_GP$i)} continue
                pin in $clock clk
                interface slave $name aximm protocol AXI4 data $C(PSU__SAXIGP${i}__DATA_WIDTH) address 49 clocks $clock
                segment $name SAXIGP$i/${prefix}_DDR_LOW 0x0 2G memory
                if {[board_ddr_mb] > 2048} {
                    segment $name SAXIGP$i/${prefix}_DDR_HIGH 0x800000000 [expr {[board_ddr_mb] - 2048}]M memory
                }
                segment $name SAXIGP$i/${prefix}_QSPI 0xC0000000 512M memory
                segment $name SAXIGP$i/${prefix}_LPS_OCM 0xFF000000 16M memory
            }
        }
    }

    # The nearest lower frequency of the IO PLL (45 times the reference) under two dividers of 1..63 (UG1085).
    proc pl_frequency {wanted reference} {
        set pll [expr {45.0 * $reference}]
        set best 0
        for {set divider 1} {$divider <= 63} {incr divider} {
            set other [expr {max(1, int(ceil($pll / $divider / $wanted - 1e-3)))}]
            if {$other <= 63} { set best [expr {max($best, $pll / $divider / $other)}] }
        }
        return [format %.6f $best]
    }

    # PG082 (Processing System 7), address map: UG585 table 4-1.
    ip processing_system7 {
        versions {2013.4 5.5}
        parameters {
            PCW_USE_M_AXI_GP0 {1 enum 0 1}  PCW_USE_M_AXI_GP1 {0 enum 0 1}
            PCW_USE_S_AXI_GP0 {0 enum 0 1}  PCW_USE_S_AXI_GP1 {0 enum 0 1}  PCW_USE_S_AXI_ACP {0 enum 0 1}
            PCW_USE_S_AXI_HP0 {0 enum 0 1}  PCW_USE_S_AXI_HP1 {0 enum 0 1}  PCW_USE_S_AXI_HP2 {0 enum 0 1}
            PCW_USE_S_AXI_HP3 {0 enum 0 1}
            PCW_S_AXI_HP0_DATA_WIDTH {64 enum 32 64}  PCW_S_AXI_HP1_DATA_WIDTH {64 enum 32 64}
            PCW_S_AXI_HP2_DATA_WIDTH {64 enum 32 64}  PCW_S_AXI_HP3_DATA_WIDTH {64 enum 32 64}
            PCW_USE_FABRIC_INTERRUPT {0 enum 0 1}  PCW_IRQ_F2P_INTR {0 enum 0 1}
            PCW_IRQ_F2P_MODE {DIRECT enum DIRECT REVERSE}
            PCW_FPGA0_PERIPHERAL_FREQMHZ {50 real 0.1 250}  PCW_FPGA1_PERIPHERAL_FREQMHZ {50 real 0.1 250}
            PCW_EN_CLK0_PORT {1 enum 0 1}  PCW_EN_CLK1_PORT {0 enum 0 1}  PCW_EN_RST0_PORT {1 enum 0 1}
            PCW_EN_RST1_PORT {0 enum 0 1}
            PCW_FPGA_FCLK0_ENABLE {1 enum 0 1}  PCW_FPGA_FCLK1_ENABLE {0 enum 0 1}
            PCW_ACT_FPGA0_PERIPHERAL_FREQMHZ {50 readonly}
            PCW_FCLK0_PERIPHERAL_CLKSRC {{IO PLL} enum {IO PLL} {ARM PLL} {DDR PLL}}
            PCW_M_AXI_GP0_ENABLE_STATIC_REMAP {0 enum 0 1}  PCW_USE_DEFAULT_ACP_USER_VAL {0 enum 0 1}
            PCW_UIPARAM_DDR_PARTNO {{MT41J256M8 HX-15E} any}  PCW_PRESET_BANK0_VOLTAGE {{LVCMOS 3.3V} any}
            PCW_PRESET_BANK1_VOLTAGE {{LVCMOS 3.3V} any}
            preset {None any}
        }
        shape {
            foreach i {0 1} {
                if {$C(PCW_EN_CLK${i}_PORT)} { pin out FCLK_CLK$i clk freq $C(PCW_FPGA${i}_PERIPHERAL_FREQMHZ) }
                if {$C(PCW_EN_RST${i}_PORT)} { pin out FCLK_RESET${i}_N rst active low asynchronous 1 }
            }
            if {$C(PCW_USE_FABRIC_INTERRUPT) && $C(PCW_IRQ_F2P_INTR)} { pin in IRQ_F2P intr tied 1 }
            interface master DDR ddrx external 1
            interface master FIXED_IO fixed_io external 1

            # UG585: GP0 answers 0x4000_0000-0x7FFF_FFFF, GP1 0x8000_0000-0xBFFF_FFFF.
            foreach {i base} {0 0x40000000 1 0x80000000} {
                if {$C(PCW_USE_M_AXI_GP$i)} {
                    pin in M_AXI_GP${i}_ACLK clk
                    interface master M_AXI_GP$i aximm \
                        protocol AXI3 data 32 address 32 clocks M_AXI_GP${i}_ACLK space Data optional 1
                    aperture M_AXI_GP$i $base 1G
                }
            }
            foreach i {0 1 2 3} {
                if {$C(PCW_USE_S_AXI_HP$i)} {
                    pin in S_AXI_HP${i}_ACLK clk
                    interface slave S_AXI_HP$i aximm \
                        protocol AXI3 data $C(PCW_S_AXI_HP${i}_DATA_WIDTH) address 32 clocks S_AXI_HP${i}_ACLK
                    segment S_AXI_HP$i S_AXI_HP$i/HP${i}_DDR_LOWOCM 0x0 [board_ddr_mb]M memory
                }
            }
            foreach i {0 1} {
                if {$C(PCW_USE_S_AXI_GP$i)} {
                    pin in S_AXI_GP${i}_ACLK clk
                    interface slave S_AXI_GP$i aximm protocol AXI3 data 32 address 32 clocks S_AXI_GP${i}_ACLK
                    segment S_AXI_GP$i S_AXI_GP$i/GP${i}_DDR_LOWOCM 0x0 [board_ddr_mb]M memory
                }
            }
            if {$C(PCW_USE_S_AXI_ACP)} {
                pin in S_AXI_ACP_ACLK clk
                interface slave S_AXI_ACP aximm protocol AXI3 data 64 address 32 clocks S_AXI_ACP_ACLK
                segment S_AXI_ACP S_AXI_ACP/ACP_DDR_LOWOCM 0x0 [board_ddr_mb]M memory
            }
        }
    }

    # Clocks that the processing system's own constraints create on its outputs, and the rules of apply_bd_automation.
    variable ps_clock_names {zynq_ultra_ps_e {pl_clk clk_pl_} processing_system7 {FCLK_CLK clk_fpga_}}
    variable automation_rules {
        xilinx.com:bd_rule:zynq_ultra_ps_e {zynq_ultra_ps_e {apply_board_preset {0 1}}}
        xilinx.com:bd_rule:processing_system7 {processing_system7 {
            make_external {any} apply_board_preset {0 1} Master {Enable Disable} Slave {Enable Disable}
        }}
    }
}
